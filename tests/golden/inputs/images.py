"""Cases with a registry: whole builds (twice, with caches, by either implementation), one phase with bad inputs, rebase."""
import modules as m
import phases
from phases import PLATFORM_APIS, VALUES, value_of

RUN_IMAGES = ["run"] * 8 + ["run-docker", "run-next", "run-bare", "run-oddhistory", "run-arm", "run-otherstack", "run-notrebasable"]
REG = "localhost:5077/"

APP = """umask 022
cd /workspace
mkdir -p static sub deep/a/b
printf 'A\\n' > static/a.txt
printf 'B\\n' > static/b.md
printf '1\\n' > deep/a/one
printf 's' > sub/s.md
printf '#!/bin/sh\\n' > run.sh; chmod 0755 run.sh
"""
APP_MORE = ["ln -s static/a.txt linked\n", "mkfifo pipe\n", "chmod 0700 sub; chmod 2755 deep\n", "printf x > 'é 中'\n", "printf w > \"$(printf '%0120d' 0)\"\n",
            "mkdir empty\n", "ln run.sh hard\n", "touch -d @0 static/a.txt\n", "printf x > \"$(printf 'a\\nb')\"\n", "ln -s /etc/passwd abs\n", "chown 5000:6000 sub\n",
            "printf x > \"$(printf '\\377')\"\n", "ln -s nowhere broken\n", "mkdir -p \"$(printf '%0150d' 0)/$(printf '%0150d' 1)\"; touch \"$(printf '%0150d' 0)/$(printf '%0150d' 1)/f\"\n",
            "rm -rf /workspace/*\n", "chmod 4755 run.sh\n", "printf x > .hidden\n", "mkdir 'sp ace'; printf x > 'sp ace/[b]'\n", "printf x > -dash\n"]

FLAGS = {
    "analyzer": ["analyzed", "cache-image", "gid", "launch-cache", "layers", "layout", "layout-dir", "previous-image", "run", "run-image", "skip-layers", "stack", "tag", "uid"],
    "restorer": ["analyzed", "cache-dir", "cache-image", "gid", "group", "layers", "skip-layers", "uid", "build-image", "generated", "run", "layout"],
    "exporter": ["analyzed", "app", "cache-dir", "cache-image", "gid", "group", "launcher", "launcher-sbom", "layers", "parallel", "process-type", "project-metadata",
                 "report", "run", "run-image", "stack", "uid", "image", "launch-cache", "extended", "layout"],
    "creator": ["app", "buildpacks", "cache-dir", "cache-image", "gid", "launcher", "layers", "order", "platform", "previous-image", "process-type", "project-metadata",
                "report", "run", "run-image", "skip-restore", "stack", "tag", "uid", "build-config", "launcher-sbom", "launch-cache"],
    "rebaser": ["force", "gid", "report", "run-image", "uid", "previous-image", "image"],
}
PATHS = {"run": "/v2/run/", "run-next": "/v2/run-next/", "app": "/v2/app/", "cache": "/v2/cache/"}
REFERENCES = ["", "App", REG + "app:tag:tag", REG + "gone", "localhost:1/x", REG + "app@sha256:" + "0" * 64, "x", REG + "a", "http://x/y", REG + "app:" + "x" * 130, REG,
              REG + "app:latest@sha256:" + "0" * 64, REG + "app@sha256:12", REG + "run", "localhost:5078/app", "index.docker.io/x y", REG + "app:t@g"]


def image_value(w, flag):
    if flag in ("cache-image", "previous-image", "run-image", "tag", "build-image", "image"):
        return w.pick(REFERENCES + [REG + "app:latest", REG + "run", REG + "run-next", REG + "cache"])
    if flag == "process-type":
        return w.pick(["web", "worker", "none", "", "a b"])
    return w.pick(VALUES[value_of(flag)])


def odd_flags(w, phase):
    out = []
    for f in w.some(FLAGS[phase], 2):
        v = image_value(w, f)
        if value_of(f) == "bool":
            out += ["-%s%s" % (f, w.pick(["", "=" + v]))]
        else:
            out += ["-%s=%s" % (f, v)] if w.chance(0.5) else ["-" + f, v]
    if w.chance(0.15):
        out.insert(w.rng.randint(0, len(out)), w.pick(phases.ODD_ARGUMENTS))
    return out


def fault(w):
    path = w.pick([r"^/v2/$", "/manifests/", "/blobs/", "/blobs/uploads/", "/v2/run/manifests/", "/v2/app/manifests/", "/v2/cache/manifests/", "/v2/run/blobs/", "/v2/app/blobs/sha256",
                   "/v2/cache/blobs/sha256", "/v2/app/blobs/uploads"])
    out = {"path": path}
    if w.chance(0.4):
        out["method"] = w.pick(["GET", "HEAD", "PUT", "POST", "PATCH", "GET|HEAD"])
    if w.chance(0.5):
        out["first"] = w.pick([1, 1, 2, 3])
    if w.chance(0.25):
        out["after"] = w.pick([1, 2, 4])
    if w.chance(0.06):
        out["drop"] = True
        return out
    out["status"] = w.pick([400, 401, 403, 404, 404, 405, 408, 429, 500, 502, 503, 504, 200, 200, 418, 301])
    out["body"] = w.pick(["", "{}", "not json", "{\"errors\":[{\"code\":\"DENIED\",\"message\":\"no\"}]}", "{\"errors\":[{\"code\":\"MANIFEST_UNKNOWN\",\"message\":\"manifest unknown\"}]}",
                          "[]", "null", "{\"schemaVersion\":2}", "{\"schemaVersion\":2,\"config\":{},\"layers\":[]}", "{\"errors\":[]}", "<html>no</html>",
                          "{\"errors\":[{\"code\":\"TOOMANYREQUESTS\",\"message\":\"slow\",\"detail\":{\"a\":1}}]}", "{\"errors\":[{\"code\":\"UNAUTHORIZED\"},{\"code\":\"X\",\"message\":\"y\"}]}"])
    if out["status"] == 401 and w.chance(0.5):
        out["headers"] = {"WWW-Authenticate": w.pick(["Basic realm=\"x\"", "Bearer realm=\"http://localhost:5077/token\",service=\"s\"", "Digest x", "Bearer", ""])}
    if out["status"] == 301:
        out["headers"] = {"Location": w.pick(["/v2/other", "http://localhost:5077/v2/", "/nowhere"])}
    if out["status"] == 200 and w.chance(0.5):
        out["headers"] = {"Content-Type": w.pick(["application/vnd.oci.image.manifest.v1+json", "application/vnd.docker.distribution.manifest.v2+json",
                                                  "application/vnd.oci.image.index.v1+json", "text/html"])}
    return out


def credentials(w, files, env):
    if w.odd(0.12) or w.chance(0.04):
        good = "{\"auths\":{\"localhost:5078\":{\"auth\":\"Z29sZGVuOnNlc2FtZQ==\"}}}"
        files["/root/.docker/config.json"] = w.pick([good, "", "{", "null", "[]", "{\"auths\":1}", "{\"auths\":{\"localhost:5077\":{}}}", "{\"auths\":{\"localhost:5077\":{\"auth\":\"!!\"}}}",
                                                     "{\"auths\":{\"localhost:5077\":{\"auth\":\"Z29sZGVu\"}}}", "{\"credsStore\":\"nowhere\"}", "{\"credHelpers\":{\"localhost:5077\":\"nowhere\"}}",
                                                     "{\"auths\":{\"localhost:5077\":{\"username\":\"a\",\"password\":\"b\"}}}", "{\"auths\":{\"localhost:5077\":{\"identitytoken\":\"t\"}}}",
                                                     "{\"auths\":{\"localhost:5077\":{\"registrytoken\":\"t\"}}}"])
    if w.odd(0.1):
        env["CNB_REGISTRY_AUTH"] = w.pick(["", "{", "{}", "null", "[]", "{\"localhost:5077\":1}", "{\"localhost:5077\":\"Basic Z29sZGVuOnNlc2FtZQ==\"}", "{\"localhost:5077\":\"Bearer t\"}",
                                           "{\"localhost:5077\":\"Odd x\"}", "{\"localhost:5077\":\"Basic !!\"}", "{\"localhost:5077\":\"\"}", "{\"localhost:5078\":\"Basic Z29sZGVuOnNlc2FtZQ==\"}",
                                           "{\"localhost:5077\":\"Basic\"}", "{\"localhost:5077\":\"X-Identity t\"}", "nonsense"])


def base_files(w, files):
    files["/cnb/run.toml"] = w.toml("[[images]]\nimage = \"%srun:latest\"\n%s" % (REG, "mirrors = [\"%s\", \"%s\"]\n" % (REG + "run-mirror", "other.test/run") if w.chance(0.15) else ""))
    files["/cnb/stack.toml"] = w.toml("[run-image]\nimage = \"%srun:latest\"\n%s" % (REG, "mirrors = [\"%srun-next\"]\n" % REG if w.chance(0.15) else ""))
    if w.chance(0.2):
        files["/layers/project-metadata.toml"] = w.toml("[source]\ntype = \"git\"\n%s%s" % (
            w.table("source.version"), w.table("source.metadata")))


def run_of(w):
    return w.pick(RUN_IMAGES)


def simple_modules(w, files):
    """One to three buildpacks that always pass; their APIs."""
    apis, order = {}, "[[order]]\n"
    for i in w.rng.sample(m.IDS, w.pick([1, 1, 2, 3])):
        api = w.pick(m.BP_APIS)
        apis[i] = api
        root = "/cnb/buildpacks/%s/1" % i.replace("/", "_")
        files[root + "/buildpack.toml"] = ("api = \"%s\"\n[buildpack]\nid = \"%s\"\nversion = \"1\"\n%s%s" % (
            api, i, "homepage = %s\n" % w.string() if w.chance(0.3) else "",
            "sbom-formats = [\"application/vnd.cyclonedx+json\", \"application/spdx+json\", \"application/vnd.syft+json\"]\n" if w.chance(0.85) else ""))
        files[root + "/bin/detect"] = "#!/bin/sh\nexit 0\n"
        files[root + "/bin/build"] = m.build(w, api)
        order += "[[order.group]]\nid = \"%s\"\nversion = \"1\"\n" % i
    files["/cnb/order.toml"] = order
    return apis


def five_phases(w, files, env, api, app):
    cache = w.pick([[], ["-cache-dir", "/cache"], ["-cache-dir", "/cache"], ["-cache-image", REG + "cache"]])
    by = {"BY": "1"}
    mixed = w.chance(0.3)

    def step(phase, args, user="0:0"):
        more = odd_flags(w, phase) if phase in FLAGS and w.odd(0.05) else []
        out = {"name": phase, "run": ["/cnb/lifecycle/" + phase] + more + args, "user": user}
        if mixed and w.chance(0.5):
            out["env"] = dict(by)
        if w.chance(0.1):
            out["run"].insert(1, "-log-level=debug")
        return out
    run = ["-run-image", REG + "run"] if w.chance(0.2) else []
    tags = ["-tag", REG + "app:second"] if w.chance(0.1) else []
    return [step("analyzer", run + (cache if "-cache-image" in cache else []) + tags + [app]), step("detector", [], "1000:1000"), step("restorer", cache),
            step("builder", [], "1000:1000"),
            step("exporter", (["-process-type", w.pick(["web", "worker"])] if w.chance(0.15) else []) + (["-parallel"] if w.chance(0.03) else []) +
                 (["-launch-cache", "/launch-cache"] if w.chance(0.05) else []) + cache + [app] + tags[1:])]


def creator(w, files, api, app):
    cache = w.pick([[], ["-cache-dir", "/cache"], ["-cache-dir", "/cache"], ["-cache-image", REG + "cache"]])
    args = cache + (["-run-image", REG + "run"] if w.chance(0.3) else []) + (["-process-type", "web"] if w.chance(0.1) else []) + (["-skip-restore"] if w.chance(0.1) else []) + \
        (["-tag", REG + "app:second"] if w.chance(0.1) else []) + (["-previous-image", REG + w.pick(["app", "run", "gone"])] if w.chance(0.1) else []) + (odd_flags(w, "creator") if w.odd(0.1) else [])
    return [{"name": "creator", "run": ["/cnb/lifecycle/creator"] + args + [app], "user": "0:0"}]


def whole(w):
    files, env = phases.user_env(w), {"CNB_USER_ID": "1000", "CNB_GROUP_ID": "1000", "CNB_ORDER_PATH": "/cnb/order.toml"}
    base_files(w, files)
    apis = simple_modules(w, files)
    api = w.pick(PLATFORM_APIS + ["0.12", "0.15"])
    app = REG + w.pick(["app"] * 9 + ["app:v1"])
    credentials(w, files, env)
    if w.chance(0.1):
        env["SOURCE_DATE_EPOCH"] = w.pick(["0", "1", "1700000000", "-1", "x", "", "1.5", "9999999999"])
    if w.odd(0.1):
        for k in w.some(["CNB_USER_ID", "CNB_GROUP_ID", "CNB_LOG_LEVEL", "CNB_PROCESS_TYPE", "CNB_RUN_IMAGE", "CNB_CACHE_DIR", "CNB_PREVIOUS_IMAGE", "CNB_REPORT_PATH", "CNB_SKIP_LAYERS",
                         "CNB_SKIP_RESTORE", "CNB_NO_COLOR", "CNB_LAUNCH_CACHE_DIR", "CNB_PROJECT_METADATA_PATH", "CNB_CACHE_IMAGE", "CNB_PARALLEL_EXPORT", "CNB_LAYOUT_DIR"], 2):
            env[k] = w.pick(REFERENCES) if "IMAGE" in k else w.pick(VALUES[value_of(k)])
    setup = APP + "".join(w.some(APP_MORE, 3)) + "chown -R 1000:1000 /workspace\n"
    once = (lambda: five_phases(w, files, env, api, app)) if w.chance(0.6) else (lambda: creator(w, files, api, app))
    steps = once()
    if w.chance(0.65):
        sh = ""
        if w.chance(0.6):
            for i in w.some(sorted(apis), 3):
                f = "/cnb/buildpacks/%s/1/bin/build" % i.replace("/", "_")
                sh += w.heredoc(f, m.build(w, apis[i]))
        if w.chance(0.3):
            sh += "cd /workspace; " + w.pick(["echo changed > static/a.txt\n", "rm -rf static\n", "echo new > new\n", "chmod 0600 run.sh\n"])
        if w.chance(0.85):
            sh += "rm -rf /layers; mkdir /layers; chown 1000:1000 /layers\n"
        if w.odd(0.15):
            sh += w.pick(["rm -rf /cache/committed/*.tar\n", "for f in /cache/committed/*; do echo x > $f; done\n", "rm -rf /cache/*\n", "echo '{' > /cache/committed/io.buildpacks.lifecycle.cache.metadata\n",
                          "chmod 000 /cache\n", "rm -rf /cache; touch /cache\n", "echo '{\"buildpacks\":[{\"key\":\"a\",\"layers\":{\"l1\":{\"sha\":\"sha256:0\",\"cache\":true}}}]}' > "
                          "/cache/committed/io.buildpacks.lifecycle.cache.metadata\n", "echo null > /cache/committed/io.buildpacks.lifecycle.cache.metadata\n"])
        if sh:
            steps.append({"name": "between", "sh": sh})
        if w.chance(0.1):
            steps.append({"name": "newer", "registry": {"run:latest": "run-next"}})
        steps += once()
    if w.chance(0.25):
        steps.append({"name": "newer run image", "registry": {"run:latest": w.pick(["run-next", "run-next", "run", "run-arm", "run-otherstack", "run-docker", "run-bare"])}})
        steps.append(rebase_step(w, app))
    case = phases.case("whole", api, env, files, setup, steps, registry={"run:latest": run_of(w), "run-next:latest": "run-next"})
    case.update(tree=["/layers", "/cache", "/launch-cache"], tree_skip=[], revisions=True)
    if w.odd(0.1):
        case["faults"] = [fault(w) for _ in range(w.pick([1, 1, 2]))]
    return case


def rebase_step(w, app):
    args = (["-force"] if w.chance(0.25) else []) + (["-run-image", REG + w.pick(["run", "run-next", "gone"])] if w.chance(0.4) else []) + \
        (["-report", w.pick(["/tmp/report.toml", "/nowhere/r.toml"])] if w.chance(0.2) else []) + (odd_flags(w, "rebaser") if w.odd(0.15) else [])
    return {"name": "rebaser", "run": ["/cnb/lifecycle/rebaser"] + args + [app] + ([REG + "app:third"] if w.chance(0.1) else []), "user": "0:0"}


GROUP = "[[group]]\nid = \"a\"\nversion = \"1\"\napi = \"0.10\"\n"
REQUESTS = [("GET", "/v2/%s/manifests/"), ("HEAD", "/v2/%s/manifests/"), ("GET|HEAD", "/v2/%s/manifests/"), ("GET", "/v2/%s/blobs/sha256"), ("HEAD", "/v2/%s/blobs/sha256"),
            ("POST", "/v2/%s/blobs/uploads"), ("PUT", "/v2/%s/manifests/")]
ANSWERS = ["", "{}", "not json", "[]", "null", "<html>no</html>", "{\"errors\":[]}", "{\"errors\":[{\"code\":\"DENIED\",\"message\":\"no\"}]}",
           "{\"errors\":[{\"code\":\"MANIFEST_UNKNOWN\",\"message\":\"manifest unknown\"}]}", "{\"errors\":[{\"code\":\"TOOMANYREQUESTS\",\"message\":\"slow\",\"detail\":{\"a\":1,\"b\":[true,null,\"x\"]}}]}",
           "{\"errors\":[{\"code\":\"UNAUTHORIZED\"},{\"code\":\"X\",\"message\":\"y\"}]}", "{\"errors\":[{\"code\":\"UNSUPPORTED\"}]}", "{\"errors\":[1]}", "{\"errors\":", "a\nb"]


def one_fault(w):
    """One phase, with nothing odd but one request that a registry never answers as it should."""
    phase = w.pick(["analyzer", "exporter", "creator", "rebaser", "restorer"])
    method, path = w.pick(REQUESTS)
    fault = {"path": path % w.pick(["app", "app", "run", "cache"]), "method": method}
    if w.chance(0.1):
        fault["drop"] = True
    else:
        fault.update(status=w.pick([400, 401, 403, 404, 405, 406, 413, 418, 422, 429, 500, 501, 502, 503, 200]), body=w.pick(ANSWERS))
    files = {"/cnb/run.toml": "[[images]]\nimage = \"localhost:5077/run:latest\"\n", "/cnb/order.toml": "[[order]]\n[[order.group]]\nid = \"a\"\nversion = \"1\"\n",
             "/layers/group.toml": "[[group]]\nid = \"a\"\nversion = \"1\"\napi = \"0.10\"\n", "/layers/plan.toml": "", "/cnb/buildpacks/a/1/buildpack.toml": "api = \"0.10\"\n[buildpack]\nid = \"a\"\nversion = \"1\"\n",
             "/cnb/buildpacks/a/1/bin/detect": "#!/bin/sh\n", "/cnb/buildpacks/a/1/bin/build": "#!/bin/sh\n", "/layers/config/metadata.toml": METADATA, "/layers/a/l1.toml": "[types]\nlaunch = true\ncache = true\n", "/layers/a/l1/f": "x\n"}
    files["/layers/analyzed.toml"] = (("[image]\nreference = \"%sapp@sha256:%s\"\n" % (REG, RUN_DIGEST) if w.chance(0.5) else "")
                                      + "[run-image]\nreference = \"%srun@sha256:%s\"\nimage = \"%srun:latest\"\n" % (REG, RUN_DIGEST, REG))
    args = ["-cache-image", REG + "cache"] if phase in ("exporter", "restorer", "creator", "analyzer") and w.chance(0.6) else []
    args += ["-force", "-run-image", REG + "run-next"] if phase == "rebaser" and w.chance(0.6) else []
    case = phases.case("one_fault", w.pick(["0.8", "0.12", "0.15"]), {"CNB_USER_ID": "1000", "CNB_GROUP_ID": "1000"}, files, "chown -R 1000:1000 /layers\n",
                       [{"name": phase, "run": ["/cnb/lifecycle/" + phase] + args + ([REG + "app"] if phase != "restorer" else []), "user": "0:0"}],
                       registry={"run:latest": "run", "run-next:latest": "run-next", "app:latest": "run"})
    case.update(tree=["/layers"], tree_skip=[], faults=[fault])
    return case


def one_token(w):
    """The same, of a registry that wants a token, whose token server hardly ever gives one."""
    case = one_fault(w)
    if w.chance(0.3):
        case["env"]["CNB_REGISTRY_AUTH"] = w.pick(["{\"localhost:5077\":\"Basic Z29sZGVuOnNlc2FtZQ==\"}", "{\"localhost:5077\":\"X-Identity t\"}"])
    realm = w.pick(["http://localhost:5077/token"] * 6 + ["http://localhost:9/token", "https://localhost:9/token", "http://localhost:5077/token?account=a"])
    service = w.pick([",service=\"s\"", ",service=\"s\"", ""])
    wanted = {"path": w.pick(["^/v2/"] * 4 + ["/manifests/", "/v2/app/", "/uploads/", "/v2/run/"]), "unless": "Bearer good", "status": 401,
              "body": w.pick(["", "{\"errors\":[{\"code\":\"UNAUTHORIZED\",\"message\":\"authentication required\"}]}"]),
              "headers": {"WWW-Authenticate": "Bearer realm=\"%s\"%s" % (realm, service)}}
    good = "{\"token\":\"good\"}"
    token = {"path": "^/token$", "status": w.pick([200, 200, 200, 400, 401, 403, 404, 405, 418, 429, 500, 503]), "body": w.pick(ANSWERS + ["{\"token\":\"\"}", "{\"token\":1}", "{\"token\":\"bad\"}", good, good, good])}
    if w.chance(0.1):
        token["drop"] = True
    case["faults"] = [wanted, token]
    return case


METADATA = ("buildpack-default-process-type = \"web\"\n[[buildpacks]]\nid = \"a\"\nversion = \"1\"\napi = \"0.10\"\n[[processes]]\ntype = \"web\"\ncommand = [\"x\"]\n"
            "direct = true\nbuildpack-id = \"a\"\n")
RUN_DIGEST = "3c6bf35a0a849e56717d1734db2f9cad0abfbaae8567cfae62662fb6a13ae4fe"


def export_metadata(w):
    out = ""
    if w.chance(0.6):
        out += "buildpack-default-process-type = %s\n" % w.string(w.pick(["web", "none", "", "worker"]))
    out += "[[buildpacks]]\nid = \"a\"\nversion = \"1\"\napi = \"0.10\"\n"
    for _ in range(w.pick([0, 0, 1, 2])):
        out += "[[labels]]\nkey = %s\nvalue = %s\n" % (w.string(), w.string())
    for t in w.rng.sample(["web", "worker", "a.b_c-d", "*", "a/b", "", "é"], w.pick([0, 1, 1, 2])):
        out += m.process(w, "0.10", types=(t,))
        if w.chance(0.8):
            out += "buildpack-id = \"a\"\n"
    for _ in range(w.pick([0, 0, 0, 1])):
        out += "[[slices]]\npaths = [%s]\n" % w.string(w.pick(["*", "static/*", "[", "/workspace/*"]))
    if w.chance(0.1):
        out += m.bom(w)
    return w.toml(out)


def one_phase(w):
    """One phase; everything is there and right but for what is odd on purpose."""
    w.wild = max(w.wild, 0.5)
    files, env = {}, {"CNB_USER_ID": "1000", "CNB_GROUP_ID": "1000"}
    base_files(w, files)
    files.update({"/cnb/order.toml": "[[order]]\n[[order.group]]\nid = \"a\"\nversion = \"1\"\n", "/layers/group.toml": w.toml(GROUP), "/layers/plan.toml": "",
                  "/cnb/buildpacks/a/1/buildpack.toml": "api = \"0.10\"\n[buildpack]\nid = \"a\"\nversion = \"1\"\n", "/cnb/buildpacks/a/1/bin/detect": "#!/bin/sh\nexit 0\n",
                  "/cnb/buildpacks/a/1/bin/build": "#!/bin/sh\nexit 0\n", "/layers/config/metadata.toml": export_metadata(w) if w.chance(0.6) else METADATA,
                  "/layers/analyzed.toml": w.toml("[run-image]\nreference = \"%srun@sha256:%s\"\nimage = \"%srun:latest\"\n[run-image.target]\nos = \"linux\"\narch = \"amd64\"\n"
                                                  "[run-image.target.distro]\nname = \"goldenos\"\nversion = \"7.5\"\n" % (REG, RUN_DIGEST, REG))})
    for name in w.some(m.LAYER_NAMES, 2):
        files["/layers/a/%s.toml" % name] = m.layer_toml(w, "0.10")
        if w.chance(0.8):
            files["/layers/a/%s/f" % name] = "x\n"
    if w.chance(0.1):
        files["/layers/a/store.toml"] = w.toml(w.table("metadata"))
    credentials(w, files, env)
    phase = w.pick(["analyzer", "analyzer", "restorer", "restorer", "exporter", "exporter", "exporter", "creator", "rebaser"])
    api = phases.platform_api(w)
    args = odd_flags(w, phase) if w.chance(0.35) else []
    if w.chance(0.1):
        args.insert(0, "-log-level=debug")
    if phase in ("restorer", "exporter", "creator") and w.chance(0.4):
        args += w.pick([["-cache-dir", "/cache"], ["-cache-image", REG + "cache"], ["-cache-dir", "/nowhere/c"], ["-cache-image", REG + "gone"]])
    app = [REG + "app"] if not w.odd(0.1) else w.pick([[], [w.pick(REFERENCES)], [REG + "app", REG + "app:two"], [REG + "app", "other.test/app"], [""]])
    if phase == "restorer":
        app = [] if not w.odd(0.05) else ["extra"]
    reg = {"run:latest": run_of(w), "run-next:latest": "run-next"}
    if w.chance(0.2):
        reg["app:latest"] = w.pick(["run", "run-bare", "run-docker"])
    if w.chance(0.1):
        del reg["run:latest"]
    step = {"name": phase, "run": ["/cnb/lifecycle/" + phase] + args + app, "user": w.pick(["0:0"] * 8 + ["1000:1000"])}
    if w.odd(0.05):
        step = dict(step, run=["/cnb/lifecycle/lifecycle"] + w.pick([[], ["-version"], ["analyze"], ["nope"], ["export", "-h"], ["detector"], [""], ["rebase", REG + "app"], ["-analyze"]]))
    if w.odd(0.2):
        for k in w.some(phases.LIFECYCLE_ENV + ["CNB_CACHE_DIR", "CNB_CACHE_IMAGE", "CNB_RUN_IMAGE", "CNB_PREVIOUS_IMAGE", "CNB_PROCESS_TYPE", "CNB_PROJECT_METADATA_PATH", "CNB_SKIP_RESTORE",
                                                "CNB_FORCE_REBASE", "CNB_LAYOUT_DIR", "CNB_PARALLEL_EXPORT", "CNB_BUILD_IMAGE"], 2):
            env[k] = w.pick(REFERENCES) if "IMAGE" in k else w.pick(VALUES[value_of(k)])
            if k == "CNB_USE_DAEMON":
                env[k] = "false"
    setup = ("cd /workspace; echo a > a.txt; mkdir static; echo s > static/s\n" if w.chance(0.5) else "") + "chown -R 1000:1000 /layers\n" + phases.setup(w, files)
    if w.odd(0.1):
        setup += w.pick(["rm /cnb/lifecycle/launcher\n", "rm /cnb/lifecycle/launcher; mkdir /cnb/lifecycle/launcher\n", "rm /cnb/lifecycle/*.json\n", "rm -rf /cache\n", "rm -rf /cache; touch /cache\n",
                         "chmod 000 /workspace\n", "mkdir -p /cache/committed; echo '{' > /cache/committed/io.buildpacks.lifecycle.cache.metadata\n", "mkdir -p /layers/sbom/launch/a/l1; echo '{}' > /layers/sbom/launch/a/l1/sbom.cdx.json\n",
                         "rm -rf /layers/config\n", "echo x > /layers/report.toml; chmod 000 /layers/report.toml\n", "mkdir /layers/report.toml\n", "mkdir /layers/analyzed.toml\n", "mkdir -p /layers/sbom; touch /layers/sbom/launch\n",
                         "touch /layers/sbom\n", "mkfifo /layers/a/l1/pipe || true\n"])
    case = phases.case("one_phase", api, env, files, setup, [step], registry=reg)
    case.update(tree=["/layers", "/cache"], tree_skip=[])
    if w.chance(0.3):
        case["faults"] = [fault(w) for _ in range(w.pick([1, 1, 2]))]
    return case
