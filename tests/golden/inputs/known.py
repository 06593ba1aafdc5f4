"""The differences that docs/differences.md lists. What one of its rows explains is counted with that row and nowhere else."""
import json, re, tomllib

import modules

CRASH = "input that makes upstream crash"
OTHER_ID = "buildpack.toml with another id than the order"
OTHER_API = "buildpack.toml of an API that we do not speak, and a group.toml of one that we do"
DOTTED = "an SBOM file of a layer with a dot in its name"
SHELL_WORDS = "an argument of a shell process"
PROFILE = ".profile after a script that changed the folder"
OWNER = "a user or group out of range"
AUTH = "an entry of CNB_REGISTRY_AUTH of an unknown scheme"
PARALLEL = "-parallel: lines of export and cache mix"
SLICES = "absolute paths in slices"
RUN_GONE = "the run image is gone"
PING = "a registry that refuses /v2/"
SOME_REQUESTS = "a registry that fails some requests only"
BARE_HEAD = "a registry that answers HEAD without a digest"
EXEC_ENV = "exec-env of a member of a group, from Platform API 0.15 on"
NO_CACHE_YET = "a cache image that is not there yet, before Platform API 0.13"
SLOW = "upstream takes longer than we wait"
LINK = "a link in a cached layer that lies there already"
NO_HOST = "a name of an image whose registry can be no host"
REDIRECT = "a registry that redirects what is written by 301, 302 or 303"
FORMAT = "a % in what is told of a detection"
WRITE_CHECK = "a registry that answers the check for write access only later"
TOKEN = "a registry that wants a token, and lets in at /v2/ who has none"
NO_CONFIG = "a manifest that is JSON and has no config"
LOST = "a layer in the cache is missing or damaged"
LAYERS_DIFFER = "a cache image with more layers than its config says"
OUTSIDE = "a name of a layer that leads out of the folder of its buildpack"
THROUGH_LINK = "a link where a restored layer has a file or a folder"
IN_THE_WAY = "something is in the way of a restored layer"
BROKEN_OFF = "committed-backup in a cache, and no committed"
NO_HARD_LINK = "a layer in a cache folder that cannot be hard-linked"
APP_IS_CACHE = "a cache image by the name of the app's image"
ONE_ID = "two layers with one ID, but for / and _"
EXTENDED_ID = "a buildpack called extended with a layer run"
LAYOUT_DIGEST = "layouts: a manifest or config that is not what its digest says"
LAYOUT_TAGS = "layouts: further tags"
FIFO = "a FIFO in a cached layer"
NO_NAME = "an analyzed.toml that names the previous image by what is no name"
RANDOM = "upstream tells one of several at random"
EXTENDED = "layers of an image that is to be extended"
TWICE = "a rebase where the old run image has its last layer several times"
NO_HISTORY = "a rebase of an image that does not tell how its layers were made"
ODD_CONFIG = "a run image whose config has a media type of its own"
NO_SIZE = "a manifest that does not say which a layer is, or how long"
TWO_KINDS = "a document that is both a manifest and an index"
INSECURE = "-insecure-registry without a registry"
DOTS = "a part of an image's name that is . or .."
COMPOSITE = "a member of a composite buildpack whose Buildpack API nobody speaks"
APP_IN_TMP = "an app in the folder for temporary files"
BLOB_IS_OTHER = "a registry that says it has a blob, by another length"
UPLOAD_ONCE = "a registry that answers the beginning of an upload by 200, once"
ROWS = [CRASH, OTHER_ID, OTHER_API, DOTTED, SHELL_WORDS, PROFILE, OWNER, AUTH, PARALLEL, SLICES, RUN_GONE, PING, SOME_REQUESTS, BARE_HEAD, EXEC_ENV, REDIRECT, FORMAT, WRITE_CHECK, TOKEN, NO_CONFIG, SLOW, RANDOM, NO_CACHE_YET, LINK, NO_HOST, LOST, LAYERS_DIFFER, OUTSIDE, THROUGH_LINK, IN_THE_WAY, BROKEN_OFF, NO_HARD_LINK, APP_IS_CACHE, ONE_ID, EXTENDED_ID, LAYOUT_DIGEST, LAYOUT_TAGS, FIFO, NO_NAME, EXTENDED, TWICE, NO_HISTORY, ODD_CONFIG, NO_SIZE, TWO_KINDS, INSECURE, DOTS, COMPOSITE, APP_IN_TMP, BLOB_IS_OTHER, UPLOAD_ONCE]


def panicked(step):
    return step["exit"] == 2 and bool(re.search(r"(?m)^(panic:|fatal error:|goroutine )", step["stderr"] + step["stdout"]))


def texts(case):
    yield from (t for t in (case.get("files") or {}).values() if t)
    yield case.get("setup") or ""
    yield from (s["sh"] for s in case["steps"] if "sh" in s)


def unformatted(text):
    """The text as it was before Go took it for a format without values."""
    return re.sub(r"%!(?:(.)\(MISSING\)|\(NOVERB\))", lambda m: "%" + (m[1] or ""), text).replace("%%", "%")


def other_ids(case):
    for path, text in (case.get("files") or {}).items():
        m = re.fullmatch(r"/cnb/(?:buildpacks|extensions)/([^/]+)/[^/]+/(buildpack|extension)\.toml", path)
        if m and text is not None:
            try:
                doc = {k.lower(): v for k, v in tomllib.loads(text).items()}
                ident = {k.lower(): v for k, v in doc[m[2]].items()}["id"]
            except (ValueError, KeyError, AttributeError):
                return True
            if str(ident).replace("/", "_") != m[1]:
                return True
    return False


def other_apis(case):
    """Whether a buildpack.toml names an API that we do not speak, or is not read at all."""
    for path, text in (case.get("files") or {}).items():
        if path.startswith("/cnb/buildpacks/") and path.endswith("/buildpack.toml") and text is not None:
            try:
                api = {k.lower(): v for k, v in tomllib.loads(text).items()}.get("api")
            except ValueError:
                return True
            if api not in modules.BP_APIS:
                return True
    return False


def orders_by_environment(case):
    """Whether a member of a group is for some execution environments only."""
    for path, text in (case.get("files") or {}).items():
        members = re.split(r"(?i)\[\[ *\W?order", text or "", maxsplit=1)[1:]
        if path.endswith(("/order.toml", "/buildpack.toml")) and any("exec-env" in t.lower() for t in members):
            return True
    return False


# What the restorer does for several layers at once, or in an order that is random, in the words of both.
ANY_ORDER = re.compile(r"(?m)^(?:Restoring metadata for .*|Writing layer metadata for .*|Not restoring .*|Retrieving (?:SBOM layer )?data for .*"
                       r"|Restoring data for SBOM from cache|\S*Warning: \S*Skipping restore for .*)\n|/layers/[^/ ]+/[^/ :]+\.toml")
# One of several layers fails first, and that is told.
FAILED = re.compile(r"(?m)^(\S*ERROR: \S*failed to restore: restoring data: ).*\n?")
PUT = re.compile(r"failed to (create directory|write file|create symlink) ")


def args(case, i):
    runs = [s["run"] for s in case["steps"] if "run" in s]
    return runs[i] if i < len(runs) else []


def is_of_lost(up, us):
    """Whether what differs below the layers is of layers that ours did not restore, or comes of that in a later build."""
    theirs, ours = up.get("tree") or {}, us.get("tree") or {}
    odd = [p for p in {*theirs, *ours} if theirs.get(p) != ours.get(p)]
    if not up["name"].startswith("restorer"):
        return True
    lost = re.findall(r"Skipping restore for (?:layer )?(\S+?):? ", us["stdout"] + "\n")
    ends = [it.rsplit(":", 1)[-1] for it in lost]
    return all("/sbom" in p or any("/" + it in p for it in ends if it) for p in odd)


def of_caches(case, i, up, us, behaviour):
    """The row about caches, restored layers or layouts that explains what differs."""
    above, said = up["stdout"], us["stdout"]
    same = up["exit"] == us["exit"]
    if same and ANY_ORDER.sub("", above) == ANY_ORDER.sub("", said) and sorted(ANY_ORDER.findall(above)) == sorted(ANY_ORDER.findall(said)) \
            and not behaviour:
        return RANDOM
    if same and up["exit"] == 42 and FAILED.search(above) and not PUT.search(above) and len(re.findall("(?m)^Restoring data for ", above + said)) > 1 \
            and FAILED.sub(r"\1", ANY_ORDER.sub("", above)) == FAILED.sub(r"\1", ANY_ORDER.sub("", said)):
        return RANDOM
    # What was written before a file that may not be written is random, too.
    if same and up["exit"] == 42 and re.search(r"failed to restore: open /layers/\S+\.toml: ", above) and ANY_ORDER.sub("", above) == ANY_ORDER.sub("", said):
        return RANDOM
    if same and up["exit"] == 42 and PUT.search(above) and ANY_ORDER.sub("", above) == ANY_ORDER.sub("", said):
        return IN_THE_WAY
    if "unknown file type in tar" in above and "unknown file type in tar" in said:
        return FIFO
    if "Skipping restore for " in said and ("Skipping restore for " in above or "error extracting from archive" in above
                                            or "expected layer contents to have SHA" in said):
        return LOST if us["exit"] == 0 and is_of_lost(up, us) else None
    if "failed to get cache layer with SHA" in above and "Ignoring cache image" in said:
        return LAYERS_DIFFER
    # None, `.`, a slash alone, or one that has `..` in it.
    if same and re.search(r'Restoring metadata for "[^"\n]*:(|\.|/|([^"\n]*/)?\.\.(/[^"\n]*)?)" from', said):
        return OUTSIDE
    if any("committed-backup" in t for t in texts(case)) and "Restoring data for" in said:
        return BROKEN_OFF
    if "reusing layer (sha256:" in above and "Reusing cache layer" in said:
        return NO_HARD_LINK
    if same and "Restoring data for" in said and any(re.search(r"ln -s\w* \S+ /layers/", t) for t in texts(case)):
        return THROUGH_LINK
    delete = r"(?m)^.*Unable to delete cache image: .*\n"
    if not behaviour and "Layer cache not found\n" in said and re.sub(delete, "", above) == re.sub(delete, "", said.replace("Layer cache not found\n", "")):
        return APP_IS_CACHE
    # Which of the folders of a layer that make variables is looked at first.
    first = r"/(bin|lib|include|pkgconfig)(?=: not a directory)"
    if not behaviour and re.sub(first, "", above) == re.sub(first, "", said):
        return RANDOM
    if "to have only 1 item; found" in above and us["exit"] == 0:
        return EXTENDED_ID
    ids = [m.replace("/", "_") for m in re.findall(r"(?m)^(?:Adding|Reusing) layer '(.*)'$", said)]
    if same and len(set(ids)) < len(ids):
        return ONE_ID
    if "-layout" in args(case, i):
        if same and "content is not what its digest says" in said:
            return LAYOUT_DIGEST
        if any(a.startswith("-tag") for a in args(case, i)) and "saving image: mkdir " in above:
            return LAYOUT_TAGS
    if not behaviour and "could not parse reference" in said \
            and re.sub(r"(?m)^.*Failed to open remote image \(attempt .*\n", "", above) == said:
        return NO_NAME
    return None


def is_part(some, all_of_them):
    """Whether each of `some` is among the others, in that order."""
    rest = iter(all_of_them)
    return all(it in rest for it in some)


def images_of(case, i, want, got):
    """The images that both pushed in step i, as pairs."""
    start = "step%d " % index_of(case, i)
    for name, image in want.get("images", {}).items():
        if name.startswith(start) and name in got.get("images", {}):
            yield image, got["images"][name]


def row_of(case, i, want, got, behaviour):
    """The row that explains what differs in step i, the first that differs. Some explain words only, not behaviour."""
    up, us = want["steps"][i], got["steps"][i] if i < len(got["steps"]) else None
    if panicked(up) and us and us["exit"] >= 0:
        return CRASH
    if "[timed out]" in up["stderr"]:
        return SLOW
    if us is None:
        return None
    said = us["stdout"] + us["stderr"]
    for ups, ours in images_of(case, i, want, got):
        if "vnd.oci.image.config" not in str(ups["manifest"]) and "vnd.docker.container.image" not in str(ups["manifest"]):
            return ODD_CONFIG
        if up["name"].startswith("rebaser") and len(ups["layers"]) != len(ours["layers"]):
            above, below = [[layer["diffID"] for layer in it["layers"]] for it in (ups, ours)]
            # One has all that the other has, in that order; without a history it is one layer that is lost.
            if is_part(below, above) and len(set(above)) < len(above):
                return TWICE
            if is_part(above, below) and len(below) == len(above) + 1:
                return NO_HISTORY
    if "document is both an image manifest and an index" in said:
        return TWO_KINDS
    if re.search(r"missing field `(digest|size)`|invalid value: integer `-\d+`, expected u64", said):
        return NO_SIZE
    theirs, ours = up.get("tree") or {}, us.get("tree") or {}
    odd = [p for p in {*theirs, *ours} if theirs.get(p) != ours.get(p)]
    if up["exit"] == us["exit"] and odd and all(re.search("/kaniko/cache/base/[^/]+/blobs/", p) and p not in ours for p in odd):
        return EXTENDED
    # Neither a failure of the same kind, nor a panic, nor a signal.
    if "failed to create symlink" in up["stdout"] and "file exists" in up["stdout"] \
            and us["exit"] >= 0 and us["exit"] not in (up["exit"], 101) and "file exists" not in said:
        return LINK
    if "failed to exec as user" in said and "invalid argument" in said:
        return OWNER
    if not behaviour and "dial tcp: lookup http " in up["stdout"] and "could not parse reference: http://" in said:
        return NO_HOST
    if re.search(r"could not parse reference: (\S*/)?\.\.?/|could not parse reference: \S*[:/]\.\.?(\s|$)", said):
        return DOTS
    args = case["steps"][i].get("run") or []
    if any(pair == ("-insecure-registry", "") for pair in zip(args, args[1:])) or "-insecure-registry=" in args:
        return INSECURE
    if "malformed `CNB_REGISTRY_AUTH`" in said:
        return AUTH
    if us["exit"] == 12 and up["exit"] != 12 and up["name"].startswith(("builder", "creator")) and other_apis(case):
        return OTHER_API
    if us["exit"] == 12 and up["exit"] != 12 and up["name"].startswith("detector") and other_apis(case) \
            and "failed to set API for Buildpack" in us["stdout"] and any("[[order]]" in t for p, t in (case.get("files") or {}).items() if t and p.endswith("/buildpack.toml")):
        return COMPOSITE
    # Where the layers are made before they are in the image; it has another name each time.
    of_env = [(it or {}).get("CNB_APP_DIR") for it in (case.get("env"), case["steps"][i].get("env"))]
    if up["exit"] == us["exit"] == 0 and "/tmp" in (*of_env, *[b for a, b in zip(args, args[1:]) if a == "-app"]):
        return APP_IN_TMP
    if other_ids(case):
        return OTHER_ID
    if up["exit"] == us["exit"] and any("with.dot" in t and ".sbom." in t for t in texts(case)) \
            and re.search(r"sbom", json.dumps([up.get("tree"), us.get("tree")])):
        return DOTTED
    if us["exit"] == 52 and up["exit"] == 0 and re.search(r"open /layers/[^/]+/[^/]*\.[^/]*\.sbom\.[a-z]+\.json: permission denied", said):
        return DOTTED
    if case["name"].startswith("launch"):
        if any(x in (up["stdout"] + up["stderr"] + said) for x in (".profile",)):
            return PROFILE
        metadata = case["files"].get("/layers/config/metadata.toml") or ""
        args = case["steps"][i]["run"]
        shell = re.search(r"(?m)^direct = (?!true)|^command = \"", metadata) or "direct" not in metadata or args[1:]
        if shell and re.search(r"-e\b|  |\\[tnru]|\t", json.dumps(args) + metadata):
            return SHELL_WORDS
    if not behaviour and "image has no layers" in up["stdout"] and "was not found" in us["stdout"]:
        return RUN_GONE
    if up["exit"] == us["exit"] and any(re.search(r"(?m)^paths = \[[^]]*/workspace", t) for t in texts(case)):
        return SLICES
    delete = r"(?m)^.*Unable to delete cache image: .*MANIFEST_UNKNOWN.*\n"
    if not behaviour and re.sub(delete, "", up["stdout"]) == us["stdout"]:
        return NO_CACHE_YET
    unmet = r"(fail|skip): \S+ (requires|provides unused) \S+\n"
    if not behaviour and re.sub(unmet, "", up["stdout"]) == re.sub(unmet, "", us["stdout"]):
        return RANDOM
    metadata = r'Restoring metadata for "\S+" from [a-z ]+\n|/layers/[^/ ]+/[^/ :]+\.toml'
    if not behaviour and re.sub(metadata, "", up["stdout"]) == re.sub(metadata, "", us["stdout"]):
        return RANDOM
    row = of_caches(case, i, up, us, behaviour)
    if row:
        return row
    ping = any(f["path"] == "^/v2/$" for f in case.get("faults") or [])
    if ping and up["exit"] != 0 and re.search("GET http://localhost:5077/v2/: |Get \"http://localhost:5077/v2/\": EOF|failed to find accessible run image|selected run image '.*' is not accessible", up["stdout"]):
        return PING
    if ping and up["files"] != us["files"] and any("mirrors" in t for t in texts(case)):
        return PING
    if not behaviour and unformatted(up["stdout"]) == unformatted(us["stdout"]):
        return FORMAT
    # Which of several requests meets a fault that some meet.
    if not behaviour and up["exit"] != 0 and any(f.get("first") for f in case.get("faults") or []):
        return SOME_REQUESTS
    blob = r"blobs/(sha256:[0-9a-f]{64}|uploads/[0-9a-f]{16}(\?digest=sha256%3A[0-9a-f]{64})?)"
    if not behaviour and re.sub(blob, "", up["stdout"]) == re.sub(blob, "", us["stdout"]):
        return RANDOM
    # A small layer is sent with the request that ends its upload.
    if up["exit"] != 0 and us["exit"] == 0 \
            and any(f.get("method") == "PATCH" and "/blobs/" in f["path"] for f in case.get("faults") or []):
        return SOME_REQUESTS
    if "it redirects a request that cannot be repeated elsewhere" in said \
            and any(f.get("status") in (301, 302, 303) for f in case.get("faults") or []):
        return REDIRECT
    if orders_by_environment(case):
        return EXEC_ENV
    faults = case.get("faults") or []
    if "failed to ensure registry read/write access" in up["stdout"] and us["stdout"] != up["stdout"] and "read/write access" not in us["stdout"] \
            and any(f.get("first") and f.get("status") in (401, 408, 429, 500, 502, 503, 504) and re.match(f.get("method", ""), "POST") for f in faults):
        return WRITE_CHECK
    if any("unless" in f and not re.search(f["path"], "/v2/") for f in faults) and up["exit"] != 0 and us["exit"] == 0:
        return TOKEN
    if "/blobs/:: " in up["stdout"]:
        return NO_CONFIG
    if "MANIFEST_BLOB_UNKNOWN" in up["stdout"] and us["exit"] == 0 \
            and any(f.get("status") == 200 and "blobs" in f["path"] and re.match(f.get("method", ""), "HEAD") for f in faults):
        return BLOB_IS_OTHER
    if up["exit"] != 0 and us["exit"] == 0 and any(f.get("first") and f.get("status") == 200 and "blobs" in f["path"] and f.get("method") == "POST" for f in faults):
        return UPLOAD_ONCE
    # Ours reads a manifest, and asks for no head.
    read_only = [f for f in faults if f.get("method") == "HEAD" and "manifests" in f["path"]]
    if faults and len(read_only) == len(faults) and all(" %s " % f.get("status") not in said for f in faults):
        return BARE_HEAD if any(f.get("status") == 200 for f in faults) else SOME_REQUESTS
    if not behaviour and "response did not include" in up["stdout"] and any(f.get("status") == 200 for f in faults):
        return BARE_HEAD
    # And takes what the registry says to that for an absence, where upstream believes the head.
    unread = r'(Image with name "\S+" not found|Ignoring image "\S+" because it was corrupt)\n'
    if not behaviour and re.sub(unread, "", up["stdout"]) == re.sub(unread, "", us["stdout"]) \
            and any(f.get("method") == "GET" and f.get("status") in (401, 404) for f in faults):
        return SOME_REQUESTS
    # Where each of the two was met by the same of them, all that differs is a find.
    if up["met"] != us["met"] and 0 <= us["exit"] != 101 and "[timed out]" not in said:
        return SOME_REQUESTS
    # Ours asks for the head alone only where it may not read the rest.
    head = any(f.get("method") == "HEAD" and f.get("status") in (401, 403) for f in faults)
    if head and up["exit"] != us["exit"] and re.search("failed to find accessible|ensure registry read", up["stdout"]):
        return SOME_REQUESTS
    refused = re.search(r"did not include|failed to find accessible", up["stdout"] + up["stderr"])
    if refused and up["exit"] != us["exit"] and any(f.get("status") == 200 and re.match(f.get("method", ""), "HEAD") for f in faults):
        return BARE_HEAD
    # Of an export that fails the cache is written by then, or it is not.
    if (not behaviour or up["exit"] == us["exit"] != 0) and any("-parallel" in s.get("run", []) for s in case["steps"]):
        return PARALLEL
    return None


def refuses_auth(case):
    """Whether ours takes no credential of the environment."""
    values = [(it or {}).get("CNB_REGISTRY_AUTH") for it in [case.get("env"), *[s.get("env") for s in case["steps"]]]]
    return any(re.search(r'"(?!(Basic|Bearer|X-Identity) )[^"{}:]*"}', it) for it in values if it)


def without(case, want, got, behaviour, words):
    """The differences that are left, and the rows that explain the others.

    What follows a step that a row explains is explained with it."""
    # What makes ready for the next build needs what the one before left.
    if behaviour and behaviour[0].startswith("run: RuntimeError") and refuses_auth(case):
        return [], [], {AUTH}
    kept_behaviour, kept_words = [], []
    for i in range(len(want["steps"])):
        name = "%d %s" % (i + 1, want["steps"][i]["name"])
        image = "image step%d " % index_of(case, i)

        def of(lines):
            return [d for d in lines if d.startswith((name + " ", name + ":", image))]
        here, said = of(behaviour), of(words)
        if here or said:
            row = row_of(case, i, want, got, here)
            if row:
                return kept_behaviour, kept_words, {row}
            if here:
                return behaviour, words, set()
            kept_words += said
    return behaviour, words, set()


def index_of(case, i):
    """run-cases numbers images by all steps, and observations by those that run a phase."""
    seen = -1
    for n, s in enumerate(([{"sh": 1}] if case.get("setup") else []) + case["steps"], 0 if case.get("setup") else 1):
        if "run" in s:
            seen += 1
            if seen == i:
                return n
    return -1
