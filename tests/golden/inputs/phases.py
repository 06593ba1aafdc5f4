"""Whole cases of detector, builder and launcher, without a registry."""
import modules as m

PLATFORM_APIS = ["0.7", "0.8", "0.9", "0.10", "0.11", "0.12", "0.13", "0.14", "0.15"]
DIGEST = "1" * 64
LIFECYCLE_ENV = ["CNB_LOG_LEVEL", "CNB_NO_COLOR", "CNB_APP_DIR", "CNB_LAYERS_DIR", "CNB_PLATFORM_DIR", "CNB_BUILDPACKS_DIR", "CNB_ORDER_PATH", "CNB_GROUP_PATH",
                 "CNB_PLAN_PATH", "CNB_BUILD_CONFIG_DIR", "CNB_ANALYZED_PATH", "CNB_GENERATED_DIR", "CNB_EXTENSIONS_DIR", "CNB_RUN_PATH", "CNB_STACK_PATH",
                 "CNB_EXPERIMENTAL_MODE", "CNB_EXEC_ENV", "CNB_SYSTEM_PATH", "CNB_USER_ID", "CNB_GROUP_ID", "CNB_USE_DAEMON", "CNB_SKIP_LAYERS",
                 "CNB_TARGET_ARCH", "CNB_STACK_ID", "CNB_DEPRECATION_MODE", "CNB_REPORT_PATH", "CNB_KANIKO_CACHE_TTL", "CNB_INSECURE_REGISTRIES", "CNB_USE_LAYOUT"]
VALUES = {"level": ["debug", "info", "warn", "error", "trace", "Debug", "", "loud", "1", "fatal", "panic", "warning"],
          "bool": ["true", "false", "1", "0", "T", "yes", "", "TRUE", "2"],
          "dir": ["/nowhere", "", "relative", "/etc/passwd", "/workspace/../workspace", "/tmp", "rel/../other"],
          "id": ["1000", "0", "-1", "x", "", "0x10", "4294967296", "1_0", " 5"],
          "mode": ["warn", "error", "quiet", "silent", "odd", ""],
          "exec": ["production", "test", "development", "", "*", "a b"]}


def value_of(name):
    if "LOG_LEVEL" in name or name == "log-level":
        return "level"
    if name.endswith("_MODE"):
        return "mode"
    if "EXEC_ENV" in name:
        return "exec"
    if name.endswith("_ID") or name in ("uid", "gid"):
        return "id"
    if name in ("no-color", "daemon", "skip-layers", "layout", "force", "parallel", "skip-restore") or name.startswith(("CNB_NO", "CNB_USE", "CNB_SKIP")):
        return "bool"
    return "dir"


FLAGS = {
    "detector": ["analyzed", "app", "build-config", "buildpacks", "extensions", "generated", "group", "layers", "log-level", "no-color", "order", "plan", "platform",
                 "run", "system"],
    "builder": ["analyzed", "app", "build-config", "buildpacks", "group", "layers", "log-level", "no-color", "plan", "platform"],
}
ODD_ARGUMENTS = ["-nope", "extra", "--", "-", "-version", "-help", "-h", "--no-color=maybe", "-log-level", "=", "-=x", "---x", "", "-app=", "--log-level=debug"]


def arguments(w, phase):
    out = []
    if w.chance(0.25):
        out += ["-log-level", "debug"] if w.chance(0.6) else ["-no-color"]
    if w.odd(0.12):
        for f in w.some(FLAGS[phase] + ["cache-dir", "uid", "skip-layers"], 2):
            v = w.pick(VALUES[value_of(f)])
            if value_of(f) == "bool":
                out += [w.pick(["-%s", "--%s"]) % f + w.pick(["", "=" + v])]
            else:
                out += [w.pick(["-", "--"]) + f + "=" + v] if w.chance(0.5) else ["-" + f, v]
    if w.odd(0.06):
        out.insert(w.rng.randint(0, len(out)), w.pick(ODD_ARGUMENTS))
    return out


def environment(w):
    out = {}
    if w.chance(0.15):
        out["CNB_LOG_LEVEL"] = "debug"
    if w.chance(0.1):
        out["CNB_EXEC_ENV"] = w.pick(VALUES["exec"])
    if w.chance(0.1):
        out["CNB_EXPERIMENTAL_MODE"] = w.pick(["warn", "error", "quiet"])
    if w.odd(0.15):
        for k in w.some(LIFECYCLE_ENV, 2):
            out[k] = w.pick(VALUES[value_of(k)])
    return out


def platform_api(w):
    if w.odd(0.04):
        return w.pick([None, "", "0.1", "0.16", "1", "x", "0.10.0", "0.3", " 0.12"])
    return w.pick(PLATFORM_APIS + ["0.12", "0.15"])


def user_env(w):
    """Files of the platform's env folder and of the build config's."""
    files = {}
    for base, suffixes in (("/platform/env/", [""]), ("/cnb/build-config/env/", m.SUFFIXES)):
        for _ in range(w.pick([0, 0, 1, 2])):
            name = w.pick(m.VARIABLES) + w.pick(suffixes)
            if name not in (".", ""):
                files[base + name] = w.pick(["v", "/u:/w", "", "l1\nl2\n", " s ", "$X"])
    return files


def analyzed(w):
    if w.odd(0.05):
        return w.pick(["", "nonsense", None, "[image]\n", "[run-image]\n", "[run-image.target]\n"])
    out = ""
    if w.chance(0.2):
        out += "[image]\nreference = \"localhost:5077/app@sha256:%s\"\n" % DIGEST
    out += "[run-image]\nreference = \"localhost:5077/run@sha256:%s\"\n" % DIGEST
    if w.chance(0.8):
        out += "image = \"localhost:5077/run:latest\"\n"
    if w.chance(0.1):
        out += "extend = %s\n" % w.pick(["true", "false"])
    if w.chance(0.9):
        out += "[run-image.target]\n"
        for k, v, p in (("os", w.pick(["linux", "linux", "linux", "windows", ""]), 0.95), ("arch", w.pick(["amd64", "amd64", "arm64", ""]), 0.9),
                        ("arch-variant", "v8", 0.1), ("id", w.string(), 0.1)):
            if w.chance(p):
                out += "%s = %s\n" % (k, w.string(v) if k != "id" else v)
        if w.chance(0.7):
            out += "[run-image.target.distro]\n"
            if w.chance(0.9):
                out += "name = \"%s\"\n" % w.pick(["goldenos", "ubuntu", ""])
            if w.chance(0.8):
                out += "version = \"%s\"\n" % w.pick(["7.5", "22.04", ""])
    if w.chance(0.15):
        out += w.table("metadata")
    return w.toml(out)


def write_module(w, files, base, kind, ident, version, plan, order=None):
    root = "%s/%s/%s" % (base, ident.replace("/", "_"), version)
    bp_api = None
    text = m.descriptor(w, kind, ident, version, order)
    if not w.odd(0.03):
        files["%s/%s.toml" % (root, kind)] = text
    for a in m.BP_APIS:
        if text.startswith(("api = \"%s\"" % a, "api = '%s'" % a)):
            bp_api = a
    if order is not None:
        return bp_api
    if not w.odd(0.04) and not (kind == "extension" and w.chance(0.3)):
        files[root + "/bin/detect"] = m.detect(w, plan)
    main = "build" if kind == "buildpack" else "generate"
    if not w.odd(0.04):
        files["%s/bin/%s" % (root, main)] = m.build(w, bp_api or "0.10") if kind == "buildpack" else generate(w)
    return bp_api


def generate(w):
    out = "#!/bin/sh\n"
    where = "\"$CNB_OUTPUT_DIR\""
    for which in w.some(["run", "build"], 2):
        text = w.pick(["FROM localhost:5077/run-next\n", "ARG base_image\nFROM ${base_image}\nRUN x\n", "ARG base_image\nFROM ${base_image}\n", "FROM a\nFROM b\n",
                       "# c\nARG base_image=scratch\nFROM $base_image\nUSER root\n"] + (["", "RUN x\n", "FROM\n", "nonsense\n", "from x as y\n", "ARG x\n"] if w.wild else []))
        out += w.heredoc(where + "/%s.Dockerfile" % which, text)
    if w.chance(0.3):
        args = "".join("[[%s]]\nname = %s\nvalue = %s\n" % (k, w.string(), w.string()) for k in w.some(["build.args", "run.args"], 2))
        out += w.heredoc(where + "/extend-config.toml", w.toml(args))
    if w.chance(0.1):
        out += m.SAVE_ENV % "/tmp/env-generate"
    if w.chance(0.1):
        out += "mkdir -p \"$CNB_OUTPUT_DIR\"/context%s\n" % w.pick(["", ".run", ".build"])
    code = w.pick([0] * 9 + [1])
    return out + ("exit %d\n" % code if code else "")


def orders(w, files):
    """order.toml and all that it names."""
    idents = w.rng.sample(m.IDS, w.pick([1, 2, 2, 3, 4]))
    versions = {i: w.pick(m.VERSIONS) for i in idents}
    names = w.rng.sample(m.NAMES, w.pick([1, 2, 2, 3]))
    exts = ["x/%d" % n for n in range(w.pick([0, 0, 0, 0, 1, 2]))]
    with_plans = w.chance(0.7)
    for i in idents:
        plan = m.plan(w, names) if with_plans and w.chance(0.7) else None
        write_module(w, files, "/cnb/buildpacks", "buildpack", i, versions[i], plan)
    for e in exts:
        write_module(w, files, "/cnb/extensions", "extension", e, "1", m.plan(w, names) if w.chance(0.4) else None)

    def groups(head, members, vs):
        out = ""
        for _ in range(w.pick([1, 1, 1, 2, 3])):
            out += "[[%s]]\n" % head
            chosen = w.rng.sample(members, w.rng.randint(1, len(members)))
            for i in chosen:
                out += m.group_entry(w, head + ".group", i if not w.odd(0.03) else "gone", vs[i], w.chance(0.3))
            if w.chance(0.05):
                out += m.group_entry(w, head + ".group", chosen[0], vs[chosen[0]], False)
        return out
    if w.chance(0.15):
        write_module(w, files, "/cnb/buildpacks", "buildpack", "meta", "1", None, groups("order", idents, versions))
        idents, versions = idents + ["meta"], dict(versions, meta="1")
    text = groups("order", idents, versions)
    if exts:
        text += groups("order-extensions", exts, {e: "1" for e in exts})
    files["/cnb/order.toml"] = w.toml(text)
    if w.odd(0.02):
        del files["/cnb/order.toml"]


def setup(w, files):
    out = ""
    if w.odd(0.12):
        f = w.pick(sorted(files))
        out += w.pick(["chmod 000 '%s'\n", "rm '%s'; mkdir '%s'\n", "rm '%s'; ln -s /nowhere '%s'\n", "chmod 0644 '%s'\n", "rm '%s'\n", ": > '%s'\n",
                       "chmod 000 \"$(dirname '%s')\"\n", "mv '%s' '%s.x'; ln -s '%s.x' '%s'\n"]).replace("%s", f)
    if w.odd(0.04):
        out += w.pick(["chmod 0555 /layers\n", "rm -rf /layers\n", "rm -rf /workspace\n", "rm /etc/os-release\n", "echo ID=other > /etc/os-release\n",
                       "rm -rf /platform\n", "mkdir /layers/group.toml\n", "mkdir /layers/plan.toml\n", "chown 0:0 /layers\n", "touch /layers/a\n",
                       "rm -rf /cnb/buildpacks\n", "chmod 000 /platform/env\n", "mkdir /platform/env/folder\n", "ln -s /nowhere /platform/env/broken\n"])
    return out


def detect_and_build(w):
    files = user_env(w)
    orders(w, files)
    a = analyzed(w)
    if a is not None and w.chance(0.9):
        files["/layers/analyzed.toml"] = a
    if w.chance(0.15):
        files["/cnb/run.toml"] = w.toml("[[images]]\nimage = \"localhost:5077/run:latest\"\n" + ("mirrors = [\"localhost:5077/run-next\"]\n" if w.chance(0.3) else ""))
    files["/workspace/app"] = "x\n"
    env = environment(w)
    # the order's default place is in the layers
    env.setdefault("CNB_ORDER_PATH", "/cnb/order.toml")
    steps = [{"name": "detector", "run": ["/cnb/lifecycle/detector"] + arguments(w, "detector"), "user": w.pick(["1000:1000"] * 5 + ["0:0"])}]
    if w.chance(0.75):
        user = w.pick(["1000:1000"] * 5 + ["0:0"])
        steps.append({"name": "builder", "run": ["/cnb/lifecycle/builder"] + arguments(w, "builder"), "user": user})
        if w.chance(0.1):
            steps.append(dict(steps[-1], name="builder again"))
    return case("detect_and_build", platform_api(w), env, files, setup(w, files), steps)


def case(kind, api, env, files, setup, steps, **more):
    out = {"name": kind, "api": api, "env": env, "files": files, "steps": steps, "tree": ["/layers", "/tmp"], "_table": None,
           "tree_skip": ["^/tmp/(lifecycle|plan|build|detect|generate|extend)"]}
    if setup:
        out["setup"] = setup
    out.update(more)
    return out


def build_alone(w):
    """The builder with group.toml, plan.toml as somebody else wrote them."""
    files = user_env(w)
    group = ""
    idents = w.rng.sample(m.IDS, w.pick([1, 1, 2, 3]))
    for i in idents:
        bp_api = write_module(w, files, "/cnb/buildpacks", "buildpack", i, "1", None) or "0.10"
        group += "[[group]]\nid = %s\nversion = \"1\"\napi = \"%s\"\n" % (w.string(i), bp_api if not w.odd(0.1) else m.api(w).replace("\n", ""))
        if w.chance(0.1):
            group += w.pick(["homepage = \"h\"\n", "optional = true\n", "exec-env = [\"test\"]\n", "exec-env = [\"production\"]\n"])
    if w.chance(0.1):
        group += "[[group-extensions]]\nid = \"x/0\"\nversion = \"1\"\napi = \"0.10\"\nextension = true\n"
    files["/layers/group.toml"] = w.toml(group)
    plan = ""
    for _ in range(w.pick([0, 1, 2, 3])):
        plan += "[[entries]]\n"
        for i in w.some(idents, 2):
            plan += "[[entries.providers]]\nid = \"%s\"\nversion = \"1\"\n" % i
        for _ in range(w.pick([1, 1, 2])):
            plan += "[[entries.requires]]\nname = \"%s\"\n" % w.pick(m.NAMES)
            if w.chance(0.4):
                plan += w.table("entries.requires.metadata")
    files["/layers/plan.toml"] = w.toml(plan)
    a = analyzed(w)
    if a is not None:
        files["/layers/analyzed.toml"] = a
    for i in idents:        # what an earlier build left, as the restorer has it
        d = "/layers/" + i.replace("/", "_")
        if w.chance(0.2):
            files[d + "/store.toml"] = w.toml(w.table("metadata"))
        for name in w.some(m.LAYER_NAMES, 2):
            files["%s/%s.toml" % (d, name)] = m.layer_toml(w, "0.10")
            if w.chance(0.7):
                files["%s/%s/old" % (d, name)] = "old\n"
    files["/workspace/app"] = "x\n"
    steps = [{"name": "builder", "run": ["/cnb/lifecycle/builder"] + arguments(w, "builder"), "user": w.pick(["1000:1000"] * 5 + ["0:0"])}]
    return case("build_alone", platform_api(w), environment(w), files, setup(w, files), steps)
