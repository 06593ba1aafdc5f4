#!/bin/sh
# oras-project/oras-go#1396: a registry without referrers API that reads the tag `sha256-HEX` as the
# digest `sha256:HEX` answers a look-up of the fallback tag with the subject itself.
# Right: what lies there is a hint, so the children of an index are not its referrers; and a signature
# that cannot be listed is not reported as attached.
export PYTHONPATH="$(cd "$(dirname "$0")" && pwd)" PYTHONDONTWRITEBYTECODE=1
exec python3 - <<'E'
from kit import *
keypair()
for how in ["read", "refuse"]:
    for multi in [True, False]:
        print("--", "pushes of that tag:", "kept but never read" if how == "read" else "refused", "| index" if multi else "| image")
        box = Box()
        images = [box.image(arch=a) for a in ("amd64", "arm64")]
        if multi:
            children = [{**it, "platform": {"os": "linux", "architecture": a}} for it, a in zip(images, ("amd64", "arm64"))]
            root = box.manifest({"schemaVersion": 2, "mediaType": INDEX, "manifests": children}, "v1", INDEX)
        else:
            box.tags["v1"] = images[0]["digest"]
        registry = Registry(box, referrers="none", normalise="refuse" if how == "refuse" else True)
        ref = registry.name + "/app:v1"
        tree = run("tree", ref, "--output", "json", show=False)
        shown = [it.get("problem") for it in tree.json()["nodes"] if it["relation"] == "referrer"] if tree.code == 0 else [None]
        check(None not in shown, "tree takes none of them for a referrer: %s" % shown)
        if shown:
            print("  ?     but it has %d lines about them, as of something broken" % len(shown))
        copied = run("copy", ref, "oci:" + how + str(multi) + ":v1", "--referrers", "--output", "json", show=False)
        got = copied.json() if copied.code == 0 else {}
        check(copied.code == 0 and got["referrers"] == 0, "copy finds no referrers: %s %s" % (got.get("referrers"), copied.err.strip()))
        print("        it says of them: dropped", len(got.get("dropped", [])), "leftBehind", got.get("leftBehind"))
        left = run("copy", ref, "oci:l" + how + str(multi) + ":v1", "--no-referrers", "--output", "json", show=False).json()
        check(left["leftBehind"] == 0, "copy with --no-referrers leaves none behind: %s" % left["leftBehind"])
        before = box.tags["v1"]
        signed = run("sign", ref, "--key", "key.key")
        puts = [it for it in registry.log if it.startswith("PUT") and "/sha256-" in it]
        print("        indexes pushed under the fallback tag:", len(puts))
        verified = run("verify", ref, "--key", "key.pub", show=False)
        check(signed.code != 0 or verified.code == 0, "sign %s, verify %s" % (signed.code, verified.code))
        check(box.tags["v1"] == before, "the tag of the image did not move")
        fallback = "sha256-" + before[7:]
        if fallback in box.tags:
            entries = [it["digest"] for it in json.loads(box.blobs[box.tags[fallback]])["manifests"]]
            check(not set(entries) & {it["digest"] for it in images}, "no index was pushed that lists the children as referrers")
finish()
E
