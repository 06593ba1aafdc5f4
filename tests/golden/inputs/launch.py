"""Cases of the launcher: metadata.toml, env files, profile.d, exec.d, and how it is called."""
import modules as m
from phases import PLATFORM_APIS

SHOW = ("#!/bin/sh\necho \"argv0 ends in ${0##*/}, $# arguments\"\nfor a in \"$@\"; do printf '<%s>\\n' \"$a\"; done\necho \"cwd $(pwd)\"\n"
        "tr '\\0' '\\n' < /proc/$$/environ | LC_ALL=C sort\n")


def metadata(w, idents, apis):
    out = ""
    if w.chance(0.3):
        out += "buildpack-default-process-type = %s\n" % w.string(w.pick(["web", "worker", "none", ""]))
    for i in idents:
        out += "[[buildpacks]]\nid = %s\nversion = \"1\"\n" % w.string(i)
        if not w.odd(0.08):
            out += "api = \"%s\"\n" % (apis[i] if not w.odd(0.1) else m.api(w).replace("\n", ""))
    for t in w.rng.sample(["web", "worker", "other", "a.b_c-d"], w.pick([1, 1, 2, 3])):
        out += "[[processes]]\ntype = %s\n" % w.string(t)
        if w.odd(0.12):
            out += "command = %s\n" % w.pick(["[]", "\"\"", "\"show x\"", "[1]", "1", "[[\"show\"]]", "{a = 1}", "[\"nowhere\"]", "[\"/bin/sh\", \"-c\", \"kill -9 $$\"]",
                                              "[\"\"]", "true", "[\"show\", 1]"])
        elif w.chance(0.6):
            out += "command = [%s]\n" % ", ".join(["\"%s\"" % w.pick(["show", "show", "/bin/show", "./rel", "bin/show", "nowhere"])] +
                                                  [w.string() for _ in range(w.pick([0, 0, 1, 2]))])
        else:
            out += "command = %s\n" % w.string(w.pick(["show", "show", "show a", "show $HOME; show", "/bin/show", "show \"$@\"", "exit 3", "kill -9 $$"]))
        if w.chance(0.6):
            out += "args = [%s]\n" % ", ".join(w.string() for _ in range(w.pick([0, 1, 2, 3])))
        if w.chance(0.7):
            out += "direct = %s\n" % w.pick(["true", "true", "false"])
        if not w.odd(0.1):
            out += "buildpack-id = %s\n" % w.string(w.pick(idents) if not w.odd(0.08) else "nobody")
        if w.chance(0.2):
            out += "working-dir = %s\n" % w.string(w.pick(["/workspace", "rel", "/nowhere", "/layers", "", "$HOME", "/etc/passwd"]))
        if w.chance(0.1):
            out += "default = true\n"
        if w.chance(0.08):
            out += "exec-env = [\"%s\"]\n" % w.pick(["production", "test"])
    return w.toml(out)


def layers(w, files, idents):
    out = ""
    for i in idents:
        base = "/layers/" + i.replace("/", "_")
        for name in w.some(["l1", "l2", "z.z"], 2):
            d = "%s/%s" % (base, name)
            out += "mkdir -p %s\n" % d
            for e in w.some(["bin", "lib", "include", "pkgconfig"], 2):
                out += "mkdir -p %s/%s\n" % (d, e)
            if w.chance(0.6):
                out += m.env_files(w, d)
            for sub in w.some(["profile.d", "profile.d/web", "profile.d/worker"], 2):
                text = w.pick(["echo one", "export PROFILE=1", "PROFILE=shell", "cd /etc", "exit 3", "set -- x", "export PATH=/p:$PATH", "return 2", "echo \"$0 $#\"", "false",
                               "set -eu", "unset HOME", "kill -9 $$" if w.wild else "true", "syntax ("])
                out += "mkdir -p %s/%s; printf '%%s\\n' '%s' > %s/%s/%s\n" % (d, sub, text, d, sub, w.pick(["a.sh", "b", "1 x"]).replace(" ", "\\ "))
            for sub in w.some(["exec.d", "exec.d/web", "exec.d/other"], 1) if w.chance(0.35) else []:
                body = w.pick(["echo 'X = \"1\"' >&3", "echo X=1 >&3", "printf 'A = \"a\"\\nPATH = \"/e:/bin\"\\n' >&3", "exit 5", "echo out; echo err >&2", "printf 'A = [1]' >&3",
                               "printf 'CNB_LAYERS_DIR = \"/x\"\\n' >&3", "pwd; printf 'B = \"\\\\u00e9\"' >&3", "kill -9 $$", "printf 'A = \"1\"\\nA = \"2\"' >&3",
                               "printf '[t]\\na = \"1\"' >&3", "printf 'n = 1.5' >&3", "printf 'bad' >&3", "printf 'd = 1979-05-27' >&3"])
                f = "%s/%s/e" % (d, sub)
                out += "mkdir -p %s/%s; printf '%%s\\n' '#!/bin/sh' '%s' > %s; chmod %s %s\n" % (d, sub, body.replace("'", "'\\''"), f,
                                                                                                 "0644" if w.odd(0.1) else "0755", f)
    return out


def launcher(w):
    idents = w.rng.sample(m.IDS[:4], w.pick([1, 1, 2]))
    apis = {i: w.pick(m.BP_APIS) for i in idents}
    files = {"/bin/show": SHOW, "/layers/config/metadata.toml": metadata(w, idents, apis), "/workspace/bin/show": SHOW, "/workspace/rel/show": SHOW}
    setup = "mkdir -p /cnb/process && for t in web worker other a.b_c-d; do ln -s /cnb/lifecycle/launcher /cnb/process/$t; done\n" + layers(w, files, idents)
    if w.chance(0.1):
        files["/workspace/.profile"] = w.pick(["echo dot profile; export DOT=1\n", "exit 4\n", "cd /\n"])
    if w.odd(0.1):
        setup += w.pick(["rm /layers/config/metadata.toml\n", "chmod 000 /layers/config/metadata.toml\n", "rm -r /layers/*\n", "chmod 000 /workspace\n", "rm -r /workspace\n",
                         "rm /bin/bash\n", "chmod 000 /layers/config\n", "ln -s /nowhere /layers/a\n", "touch /layers/b\n", "mkdir -p /layers/a/l1; rm -rf /layers/a; touch /layers/a\n"])
    env = {}
    for k, vs, p in (("CNB_PROCESS_TYPE", ["web", "worker", "none", ""], 0.2), ("CNB_APP_DIR", ["/workspace", "/nowhere", "", "rel"], 0.1),
                     ("CNB_LAYERS_DIR", ["/layers", "/nowhere", "", "layers"], 0.05), ("CNB_NO_COLOR", ["1", "true", "x"], 0.1), ("FOO", ["user", ""], 0.2),
                     ("PATH", ["/bin", "/cnb/process:/bin", "/bin:/cnb/lifecycle", "", ".:/bin"], 0.2), ("CNB_LOG_LEVEL", ["debug"], 0.05),
                     ("CNB_EXEC_ENV", ["test", "production", ""], 0.1), ("CNB_PLATFORM_DIR", ["/platform"], 0.05), ("CNB_DEPRECATION_MODE", ["error", "quiet", "x"], 0.05),
                     ("HOME", ["", "/nowhere"], 0.05), ("CNB_USER_ID", ["5"], 0.03), ("CPATH", ["/u"], 0.05)):
        if w.chance(p):
            env[k] = w.pick(vs)
    program = w.pick(["/cnb/process/web"] * 4 + ["/cnb/lifecycle/launcher"] * 4 + ["/cnb/process/worker", "/cnb/process/other", "/cnb/process/a.b_c-d"])
    args = [w.pick(["show", "--", "x", "web", "worker", "show a b", "$FOO", "", "-e", "a  b", "'", "*", "nowhere", "\"q\"", "exit 9", "bash", "-version"])
            for _ in range(w.pick([0, 0, 0, 1, 1, 2, 3]))]
    step = {"name": "launcher", "run": [program] + args, "user": w.pick(["1000:1000", "0:0"]), "cwd": w.pick(["/workspace", "/workspace", "/", "/layers"])}
    if w.chance(0.05):
        step["argv0"] = w.pick(["web", "launcher", "/x/worker", "web.exe", "", "lifecycle"])
    api = w.pick(PLATFORM_APIS + [None]) if not w.odd(0.05) else w.pick(["", "x", "0.99", "0.1"])
    return {"name": "launcher", "api": api, "env": env, "files": files, "setup": setup, "steps": [step], "real_launcher": True, "collect": [], "_table": None,
            "compare": ["exit", "stdout", "files", "tree"], "tree": ["/layers"]}
