"""Runs a case of run-cases' form quickly: one root file system and one registry, both in memory, emptied between cases."""
import functools, importlib.machinery, importlib.util, os, re, shutil, stat, subprocess, sys

import registry

HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def load_run_cases():
    """run-cases as a module; it has no ending, so it is named by its path."""
    loader = importlib.machinery.SourceFileLoader("run_cases", os.path.join(HERE, "run-cases"))
    spec = importlib.util.spec_from_loader("run_cases", loader)
    module = importlib.util.module_from_spec(spec)
    sys.modules["run_cases"] = module
    loader.exec_module(module)
    return module


rc = load_run_cases()
rc.base_diff_ids = functools.lru_cache(None)(rc.base_diff_ids)
# Lines about the layers of a buildpack, which upstream goes through in a random order.
OF_A_MAP = re.compile(r"(?m)(?:^(?:\x1b\[[0-9;]*m)?(?:(?:Not r|R)estoring (?:metadata for )?\"|Writing layer metadata for ).*\n)+")
# What a case may change; the rest of the root stays.
KEPT = ("bin", "dev", "proc", "usr")


def wipe(path):
    """Removes what is below a folder, without following links."""
    with os.scandir(path) as entries:
        for e in entries:
            if e.is_dir(follow_symlinks=False):
                wipe(e.path)
                os.rmdir(e.path)
            else:
                os.unlink(e.path)


def copy_node(src, dst):
    st = os.lstat(src)
    if stat.S_ISLNK(st.st_mode):
        os.symlink(os.readlink(src), dst)
    elif stat.S_ISDIR(st.st_mode):
        os.mkdir(dst)
        for n in os.listdir(src):
            copy_node(os.path.join(src, n), os.path.join(dst, n))
    else:
        shutil.copyfile(src, dst)
    os.lchown(dst, st.st_uid, st.st_gid)
    if not stat.S_ISLNK(st.st_mode):
        os.chmod(dst, stat.S_IMODE(st.st_mode))


class Side(rc.Bench):
    """One pair of binaries, and the root that its cases run in. `other` takes the steps that say `by: other`."""

    def __init__(self, lifecycle, launcher, work, server, other=None):
        self.work, self.keep, self.server, self.store, self.other = work, None, server, server.store, other
        self.auth = True    # the registry in memory answers at both ports
        self.template = os.path.join(work, "template")
        os.makedirs(work)
        subprocess.run([os.path.join(HERE, "make-root.sh"), self.template], check=True)
        self.bins = {}
        for name, src in (("lifecycle", lifecycle), ("launcher", launcher)):
            self.bins[name] = os.path.join(work, name)
            shutil.copy(src, self.bins[name])
            os.chmod(self.bins[name], 0o755)
        self.root = os.path.join(work, "root")
        subprocess.run(["cp", "-a", self.template, self.root], check=True)
        subprocess.run(["mount", "-t", "proc", "proc", self.root + "/proc"], check=True)

    def fresh_root(self, case, where):
        for n in os.listdir(self.root):
            if n in KEPT:
                continue
            full = os.path.join(self.root, n)
            if os.path.isdir(full) and not os.path.islink(full):
                wipe(full)
                os.rmdir(full)
            else:
                os.unlink(full)
        for n in os.listdir(self.template):
            if n not in KEPT:
                copy_node(os.path.join(self.template, n), os.path.join(self.root, n))
        for n in os.listdir(self.root + "/bin"):
            if not os.path.lexists(os.path.join(self.template, "bin", n)):
                os.unlink(os.path.join(self.root, "bin", n))
        self.install(self.bins)
        if case.get("real_launcher"):
            os.unlink(self.root + "/cnb/lifecycle/launcher")
            os.link(self.bins["launcher"], self.root + "/cnb/lifecycle/launcher")
        for path, text in (case.get("files") or {}).items():
            if text is not None:
                self.put(self.root, path, text)
        return self.root

    def install(self, bins):
        to = self.root + "/cnb/lifecycle/lifecycle"
        if os.path.lexists(to):
            os.unlink(to)
        os.link(bins["lifecycle"], to)

    def exec(self, root, argv, user, env, cwd="/", argv0=None, timeout=60):
        by = env.pop("BY", None)
        if by and self.other:
            self.install(self.other.bins)
        try:
            if not os.path.isdir(root + cwd):
                cwd = "/"
            return super().exec(root, argv, user, env, cwd, argv0, timeout)
        finally:
            if argv[0] != "/bin/sh":
                self.met.append(sorted(self.server.faults.met))
            if by and self.other:
                self.install(self.bins)

    def normalise(self, obs, names, case):
        more = [[r"/tmp/(plan|cnb-extensions-generated)\.\w{6,}", r"/tmp/\1-RANDOM"], [r"/tmp/([\w.-]+?)-[A-Za-z0-9]{6,}(?=/)", r"/tmp/\1-RANDOM"]]
        obs = super().normalise(obs, names, dict(case, normalise=case.get("normalise", []) + more))
        for s in obs["steps"]:
            s["stdout"] = OF_A_MAP.sub(lambda m: "".join(sorted(m[0].splitlines(True))), s["stdout"])
        return obs

    def run(self, case, where=HERE):
        self.server.faults, self.met = registry.Faults(case.get("faults") or []), []
        try:
            seen = self.run_in(case, where, self.fresh_root(case, where))
            seen["steps"] = [dict(s, met=met) for s, met in zip(seen["steps"], self.met)]
            return seen
        except (RuntimeError, OSError, ValueError, KeyError) as e:
            return {"steps": [], "images": {}, "failed": "%s: %s" % (type(e).__name__, e)}
        finally:
            self.server.faults = registry.Faults([])



def differences(case, want, got):
    """(what differs in behaviour, what differs in words)"""
    if want.get("failed") or got.get("failed"):
        a, b = want.get("failed"), got.get("failed")
        # a case whose set-up fails, or that nobody can start, is not compared
        both = a and b and (a == b or a.startswith("RuntimeError") and b.startswith("RuntimeError"))
        return ([] if both else ["run: %s, not %s" % (b, a)], [])
    behaviour = rc.compare(case, want, got, "off", True)
    words = [d for d in rc.compare(case, want, got, "strict") if d.split(": ")[0].endswith((" stdout", " stderr"))]
    return behaviour, words
