"""The differences that docs/differences.md lists. What one of its rows explains is counted with that row and nowhere else."""
import json, re

CRASH = "input that makes upstream crash"
OTHER_ID = "buildpack.toml with another id than the order"
OTHER_API = "buildpack.toml of an API that we do not speak, and a group.toml of one that we do"
DOTTED = "an SBOM file of a layer with a dot in its name"
SHELL_WORDS = "an argument of a shell process"
PROFILE = ".profile after a script that changed the folder"
OWNER = "a user or group that is no number of one"
AUTH = "an entry of CNB_REGISTRY_AUTH of no kind that there is"
PARALLEL = "-parallel: lines of export and cache mix"
ROWS = [CRASH, OTHER_ID, OTHER_API, DOTTED, SHELL_WORDS, PROFILE, OWNER, AUTH, PARALLEL]


def panicked(step):
    return step["exit"] == 2 and bool(re.search(r"(?m)^(panic:|fatal error:|goroutine )", step["stderr"] + step["stdout"]))


def texts(case):
    yield from (t for t in (case.get("files") or {}).values() if t)
    yield case.get("setup") or ""
    yield from (s["sh"] for s in case["steps"] if "sh" in s)


def other_ids(case):
    for path, text in (case.get("files") or {}).items():
        m = re.fullmatch(r"/cnb/(?:buildpacks|extensions)/([^/]+)/[^/]+/(buildpack|extension)\.toml", path)
        if m and text is not None:
            ids = re.findall(r"(?m)^id\s*=\s*(.*)$", re.split(r"(?m)^\[\[?(?!%s\])" % m[2], text, maxsplit=1)[0])
            if [i.strip().strip("'\"").replace("/", "_") for i in ids] != [m[1]]:
                return True
    return False


def row_of(case, i, want, got):
    """The row that explains what differs in step i, the first that differs."""
    up, us = want["steps"][i], got["steps"][i] if i < len(got["steps"]) else None
    if panicked(up) and us and us["exit"] >= 0:
        return CRASH
    if us is None:
        return None
    said = us["stdout"] + us["stderr"]
    if "failed to exec as user" in said and "invalid argument" in said:
        return OWNER
    if "malformed `CNB_REGISTRY_AUTH`" in said:
        return AUTH
    if us["exit"] == 12 and up["exit"] != 12 and up["name"].startswith(("builder", "creator")):
        return OTHER_API
    if up["name"].startswith(("builder", "creator", "exporter")) and other_ids(case):
        return OTHER_ID
    if up["exit"] == us["exit"] and any("with.dot" in t and ".sbom." in t for t in texts(case)) \
            and re.search(r"sbom", json.dumps([up.get("tree"), us.get("tree")])):
        return DOTTED
    if case["name"].startswith("launch"):
        if any(x in (up["stdout"] + up["stderr"] + said) for x in (".profile",)):
            return PROFILE
        metadata = case["files"].get("/layers/config/metadata.toml") or ""
        args = case["steps"][i]["run"]
        shell = re.search(r"(?m)^direct = (?!true)|^command = \"", metadata) or "direct" not in metadata or args[1:]
        if shell and re.search(r"-e\b|  |\\[tnru]|\t", json.dumps(args) + metadata):
            return SHELL_WORDS
    if any("-parallel" in s.get("run", []) for s in case["steps"]) and up["exit"] == us["exit"]:
        return PARALLEL
    return None


def without(case, want, got, behaviour, words):
    """The differences that are left, and the rows that explain the others.

    What follows a step that a row explains is explained with it."""
    for i in range(len(want["steps"])):
        name = "%d %s" % (i + 1, want["steps"][i]["name"])
        here = [d for d in behaviour + words if d.startswith((name + " ", name + ":")) or re.match(r"image step%d " % index_of(case, i), d)]
        if here:
            row = row_of(case, i, want, got)
            return ([], [], {row}) if row else (behaviour, words, set())
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
