"""Buildpacks and extensions: descriptors, bin/detect with build plans, bin/build with layers, launch.toml and what belongs to them."""

BP_APIS = ["0.7", "0.8", "0.9", "0.10", "0.11", "0.12"]
IDS = ["a", "b", "c/d", "e.f", "g_h", "i-j/k"]
VERSIONS = ["1", "2.0.0", "0.0.9-rc.1"]
NAMES = ["tool", "x", "rt", "é"]
SUFFIXES = ["", ".append", ".prepend", ".override", ".default", ".delim", ".odd", ".app.end", "."]
VARIABLES = ["PATH", "FOO", "BAR", "CPATH", "LD_LIBRARY_PATH", "CNB_TARGET_OS", "HOME", "a.b", "lower", "JAVA_TOOL_OPTIONS", "CNB_LAYERS_DIR"]
SAVE_ENV = "tr '\\0' '\\n' < /proc/self/environ | grep -v -e '^CNB_BUILD_PLAN_PATH=' -e '^CNB_BP_PLAN_PATH=' | sort > %s\n"


def api(w):
    if w.odd(0.15):
        return w.pick(["", "0.1", "0.6", "0.13", "1", "1.0", "str", "0", "0.10.1", "00.10", " 0.10", "0.x", "99.0", "-1", "0.12\n", "v0.10"])
    return w.pick(BP_APIS)


def target(w, head):
    out = "[[%s]]\n" % head
    for k, vs in (("os", ["linux", "linux", "", "windows", "*"]), ("arch", ["amd64", "amd64", "", "arm64", "*"]), ("variant", ["", "v8"]),
                  ("arch-variant", ["v8"])):
        if w.chance({"os": 0.8, "arch": 0.6}.get(k, 0.15)):
            out += "%s = %s\n" % (k, w.string(w.pick(vs)))
    for _ in range(w.pick([0, 0, 1, 2])):
        out += "[[%s.distros]]\n" % head
        if w.chance(0.8):
            out += "name = \"%s\"\n" % w.pick(["goldenos", "ubuntu", ""])
        if w.chance(0.7):
            out += "version = \"%s\"\n" % w.pick(["7.5", "22.04", ""])
    return out


def descriptor(w, kind, ident, version, order=None):
    out = "api = %s\n" % w.string(api(w))
    if w.odd(0.05):
        out = w.pick(["", "api = 0.10\n", "api = true\n", "API = \"0.10\"\n"])
    out += "[%s]\n" % kind
    if not w.odd(0.1):
        out += "id = %s\n" % w.string(ident if not w.odd(0.1) else "other")
    if not w.odd(0.1):
        out += "version = %s\n" % w.string(version)
    for k, v in (("name", w.string()), ("homepage", w.string()), ("clear-env", w.pick(["true", "false"])), ("description", w.string()),
                 ("keywords", "[\"k\", \"<\"]"),
                 ("sbom-formats", w.pick(["[]", "[\"application/vnd.cyclonedx+json\"]", "[\"application/spdx+json\", \"application/vnd.syft+json\"]",
                                          "[\"application/vnd.cyclonedx+json;version=1.4\", \"application/spdx+json\", \"application/vnd.syft+json\"]"])),
                 ("exec-env", w.pick(["[]", "[\"production\"]", "[\"test\"]", "[\"*\"]", "[\"test\", \"production\"]"])),
                 ("unknown", w.value())):
        if w.chance(0.45 if k == "sbom-formats" else 0.12):
            out += "%s = %s\n" % (k, v)
    if w.chance(0.1):
        out += "[[buildpack.licenses]]\ntype = \"MIT\"\n"
    if order is not None:
        out += order
    elif w.chance(0.25):
        for _ in range(w.pick([1, 1, 2])):
            out += target(w, "targets")
    if w.chance(0.2):
        for _ in range(w.pick([1, 1, 2])):
            out += "[[stacks]]\nid = \"%s\"\n" % w.pick(["*", "io.buildpacks.stacks.bionic", "some.stack", ""])
            if w.chance(0.2):
                out += "mixins = [\"m\"]\n"
    if w.chance(0.15):
        out += w.table("metadata")
    return w.toml(out)


def group_entry(w, head, ident, version, optional, ext=False):
    out = "[[%s]]\nid = %s\n" % (head, w.string(ident))
    if not w.odd(0.07):
        out += "version = %s\n" % w.string(version)
    if optional or w.chance(0.05):
        out += "optional = %s\n" % ("true" if optional else "false")
    if w.chance(0.04):
        out += "exec-env = [\"%s\"]\n" % w.pick(["production", "test", "*"])
    if w.odd(0.06):
        out += w.pick(["api = \"0.10\"\n", "homepage = \"h\"\n", "extension = true\n", "optional = \"yes\"\n", "x = 1\n", "clear-env = true\n"])
    return out


def plan(w, names=NAMES):
    """A build plan as bin/detect writes it."""
    def part(prefix):
        out, tail = "", ""
        for _ in range(w.pick([0, 1, 1, 2])):
            tail += "[[%sprovides]]\nname = \"%s\"\n" % (prefix, w.pick(names))
        for _ in range(w.pick([0, 1, 1, 2])):
            tail += "[[%srequires]]\nname = \"%s\"\n" % (prefix, w.pick(names))
            if w.odd(0.05):
                tail += "version = \"1\"\n"
            if w.chance(0.4):
                tail += w.table("%srequires.metadata" % prefix)
        return out + tail
    out = part("")
    for _ in range(w.pick([0, 0, 0, 1, 2])):
        out += "[[or]]\n" + part("or.")
    return w.toml(out)


def detect(w, own_plan):
    out = "#!/bin/sh\n"
    if w.chance(0.3):
        out += w.pick(["echo out\n", "echo err >&2\n", "printf 'no newline'\n", "pwd\n", "echo \"$0 $#\"\n", "printf '\\033[31mred\\n'\n", "printf 'a\\r\\nb\\n\\n'\n"])
    if w.chance(0.3):
        out += SAVE_ENV % "/tmp/env$(echo $0 | tr / _)"
    if own_plan is not None:
        out += w.heredoc("\"$2\"", own_plan)
    code = w.pick([0] * 12 + [100, 100, 100, 1, 2, 7, 99, 101, 255])
    if w.odd(0.05):
        return out + w.pick(["kill -9 $$\n", "kill -15 $$\n", "kill -2 $$\n", "kill -11 $$\n", "rm -f \"$2\"\n", "rm -f \"$2\"; mkdir \"$2\"\n", "exec /nowhere\n",
                             "chmod 000 \"$2\"\n", "rm -f \"$2\"; ln -s /etc/passwd \"$2\"\n", "exit 127\n"])
    return out + ("exit %d\n" % code if code else "")


def layer_toml(w, bp_api):
    out = ""
    flags = {k: w.chance(0.5) for k in ("launch", "build", "cache")}
    head = ""
    for k, v in flags.items():
        if v or w.chance(0.2):
            head += "%s = %s\n" % (k, "true" if v else "false")
    if w.odd(0.15) or w.chance(0.02):
        out += head                     # the form before [types]
    elif w.chance(0.93):
        out += "[types]\n" + head
    if w.chance(0.5):
        out += w.table("metadata")
    if w.odd(0.05):
        out += w.pick(["[[metadata]]\na = 1\n", "metadata = 1\n", "types = 1\n", "[types.x]\n", "[other]\na = 1\n", "launch = \"true\"\n"])
    return w.toml(out)


def process(w, bp_api, head="processes", types=("web", "web", "worker", "a.b_c-d", "other")):
    out = "[[%s]]\ntype = %s\n" % (head, w.string(w.pick(types)))
    if w.odd(0.06):
        out = "[[%s]]\n" % head + w.pick(["", "type = \"\"\n", "type = \"a/b\"\n", "type = \"a b\"\n", "type = 1\n", "type = \"*\"\n"])
    listed = bp_api not in ("0.7", "0.8")
    if w.odd(0.1):
        out += "command = %s\n" % w.pick(["\"one\"", "[\"a\", \"b\"]", "[]", "\"\"", "[1]", "[\"a\", 1]", "[[\"a\"]]", "{a = 1}", "1", "true", "1.5", "1979-05-27",
                                          "[\"a\", [\"b\"]]", "[{a = 1}]", "[true]"])
    elif listed:
        out += "command = [%s]\n" % ", ".join(w.string() for _ in range(w.pick([1, 1, 2, 3])))
    else:
        out += "command = %s\n" % w.string()
    if w.chance(0.5):
        out += "args = [%s]\n" % ", ".join(w.string() for _ in range(w.pick([0, 1, 2])))
    if w.chance(0.35 if not listed else 0.1):
        out += "direct = %s\n" % w.pick(["true", "false"])
    if w.chance(0.25):
        out += "default = %s\n" % w.pick(["true", "true", "false"])
    if w.chance(0.25):
        out += "working-dir = %s\n" % w.string(w.pick(["/workspace", "rel", "/nowhere", "", "$HOME", "/layers", "..", "a b"]))
    if w.chance(0.1):
        out += "exec-env = [%s]\n" % ", ".join(w.string(w.pick(["production", "test", "*"])) for _ in range(w.pick([0, 1, 2])))
    if w.odd(0.05):
        out += w.pick(["buildpack-id = \"zz\"\n", "args = \"x\"\n", "args = [1]\n", "default = 1\n", "direct = \"no\"\n", "unknown = 1\n", "platform = {a = 1}\n"])
    return out


def bom(w):
    out = "[[bom]]\n"
    if not w.odd(0.1):
        out += "name = %s\n" % w.string()
    if w.odd(0.1):
        out += "version = \"%s\"\n" % w.pick(["1", ""])
    if w.chance(0.7):
        out += w.table("bom.metadata")
    return out


def launch_toml(w, bp_api):
    out = ""
    if w.chance(0.3):
        for _ in range(w.pick([1, 1, 2])):
            out += "[[labels]]\nkey = %s\nvalue = %s\n" % (w.string(), w.string())
    for _ in range(w.pick([0, 1, 1, 2, 3])):
        out += process(w, bp_api)
    if w.chance(0.3):
        for _ in range(w.pick([1, 2])):
            pats = w.pick([["static/*"], ["*"], ["**"], ["*.md", "run.sh"], ["/workspace/static/*"], ["[a"], [""], ["nothing"], ["deep/**"], ["static"], ["{a,b}"],
                           ["../*"], ["/etc/*"], ["s?b"], ["[!a]*"], ["\\*"], []])
            out += "[[slices]]\npaths = [%s]\n" % ", ".join(w.string(p) for p in pats)
    if w.chance(0.25):
        for _ in range(w.pick([1, 2])):
            out += bom(w)
    if w.odd(0.05):
        out = w.pick(["labels = 1\n", "processes = []\n", "[processes]\ntype = \"web\"\n", "[slices]\n", "bom = [1]\n", "slices = [1]\n"]) + out
    return w.toml(out)


def build_toml(w):
    out = ""
    for _ in range(w.pick([0, 0, 1, 2])):
        out += "[[unmet]]\nname = %s\n" % w.string(w.pick(NAMES + (["nobody", ""] if w.wild else [])))
    if w.chance(0.3):
        for _ in range(w.pick([1, 2])):
            out += bom(w)
    return w.toml(out)


def env_files(w, base, most=3):
    out = ""
    for d in w.some(["env", "env.build", "env.launch", "env.launch/web", "env.launch/worker"], 2):
        out += "mkdir -p %s/%s\n" % (base, d)
        for _ in range(w.rng.randint(1, most)):
            name = w.pick(VARIABLES) + w.pick(SUFFIXES)
            out += "printf '%%s' '%s' > %s/%s/'%s'\n" % (w.pick(["v", "/x:/y", "", " lead", "trail ", "l1\nl2", "end\n", "$HOME", ":"]), base, d, name)
        if w.odd(0.1):
            out += w.pick(["mkdir %s/%s/folder\n", "ln -s /nowhere %s/%s/BROKEN\n", "ln -s /etc/passwd %s/%s/LINK\n", 
                           "chmod 000 %s/%s\n"]) % (base, d)
    return out


def layer(w, name, bp_api, sboms=True):
    d = "\"$1\"/'%s'" % name
    out = ""
    if not w.odd(0.1):
        out += "mkdir -p %s\n" % d
        for f in w.some(["file", "bin/tool", "lib/l.so", "include/h.h", "sub/deep/er", "é", "pkgconfig/p.pc", "with space"], 3):
            out += "mkdir -p \"$(dirname %s/'%s')\"; echo '%s' > %s/'%s'\n" % (d, f, w.pick(["x", "y", name]), d, f)
        if w.chance(0.2):
            out += w.pick(["chmod 0700 %s\n", "ln -s file %s/link\n", "ln -s /etc/passwd %s/abs\n", "mkdir -p %s/bin; chmod 2755 %s/bin\n",
                           "echo s > %s/setuid; chmod 4755 %s/setuid\n", "echo h > %s/h1; ln %s/h1 %s/h2\n", "mkdir %s/empty\n", "touch %s/.hidden\n",
                           "ln -s nowhere %s/broken\n", "touch -d @0 %s/old\n", "mkdir -p %s/$(printf '%%0120d' 0)/$(printf '%%090d' 0)\n"]).replace("%s", d).replace("%%", "%")
        if w.chance(0.3):
            out += env_files(w, d)
        if w.chance(0.15):
            out += "mkdir -p %s/profile.d; echo 'echo from profile; export P=%s' > %s/profile.d/p.sh\n" % (d, w.pick(["1", "2"]), d)
        if w.chance(0.1):
            out += "mkdir -p %s/exec.d; printf '#!/bin/sh\\necho X=1 >&3\\n' > %s/exec.d/e; chmod 0755 %s/exec.d/e\n" % (d, d, d)
    elif w.odd(0.5):
        out += w.pick(["touch %s\n", "ln -s /etc %s\n", "ln -s /nowhere %s\n"]) % d
    if not w.odd(0.15) and w.chance(0.93):
        out += w.heredoc("\"$1\"/'%s.toml'" % name, layer_toml(w, bp_api))
    if w.odd(0.04):
        out += w.pick(["rm -f %s.toml; mkdir %s.toml\n", "rm -f %s.toml; ln -s nowhere %s.toml\n", "chmod 000 %s.toml\n", "mkdir %s.ignore; touch %s.ignore/x\n",
                       "rm -rf %s\n"]).replace("%s", d)
    if sboms and w.chance(0.3):
        out += sbom(w, name)
    return out


def sbom(w, subject):
    out = ""
    for fmt in w.some(["cdx", "spdx", "syft"] + (["other"] if w.odd(0.3) else []), 2):
        f = "\"$1\"/'%s.sbom.%s.json'" % (subject, fmt)
        out += "echo '{\"s\":\"%s\"}' > %s\n" % (w.pick(["1", "2"]), f)
        if w.odd(0.15):
            out += w.pick(["rm %s; mkdir %s\n", "rm %s; ln -s /etc/passwd %s\n", "rm %s; ln -s nowhere %s\n", "chmod 000 %s\n", ": > %s\n"]).replace("%s", f)
    return out


LAYER_NAMES = ["l1", "l2", "with.dot", "UP", "l-3", "sp ace"]


def build(w, bp_api, rounds=1):
    out = "#!/bin/sh\n"
    if w.chance(0.3):
        out += w.pick(["echo building\n", "echo err >&2\n", "pwd; echo $#\n", "cat \"$3\"\n"])
    if w.chance(0.35):
        out += SAVE_ENV % "\"$1\"/env.txt"
    if w.chance(0.4):
        out += "cp \"$3\" \"$1\"/seen-plan.txt\n"
    if w.chance(0.15):
        out += "ls -A \"$1\" | sort > /tmp/seen-$(basename \"$1\")\n"
    for name in w.some(LAYER_NAMES, 3):
        out += layer(w, name, bp_api)
    if w.chance(0.2):
        out += sbom(w, w.pick(["launch", "build", "nolayer", "launch"]))
    if w.chance(0.6):
        out += w.heredoc("\"$1\"/launch.toml", launch_toml(w, bp_api))
    if w.chance(0.4):
        out += w.heredoc("\"$1\"/build.toml", build_toml(w))
    if w.chance(0.25):
        out += w.heredoc("\"$1\"/store.toml", w.toml(w.table("metadata") if w.chance(0.9) else w.pairs()))
    if w.odd(0.05):
        return out + w.pick(["kill -9 $$\n", "kill -15 $$\n", "exec /nowhere\n", "rm -rf \"$1\"\n", "chmod 000 \"$1\"\n", "rm -f \"$3\"\n", "rm -rf \"$1\"; touch \"$1\"\n",
                             "kill -6 $$\n", "mkdir -p \"$1\"/launch.toml\n", "rm -f \"$1\"/launch.toml; ln -s nowhere \"$1\"/launch.toml\n",
                             "chmod 000 \"$1\"/build.toml\n", "rm -rf \"$1\"/store.toml; mkdir \"$1\"/store.toml\n"])
    code = w.pick([0] * 20 + [1, 100, 255])
    return out + ("exit %d\n" % code if code else "")
