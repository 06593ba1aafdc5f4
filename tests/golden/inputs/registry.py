"""A registry in memory at the two ports of run-cases, with faults that a case names."""
import hashlib, http.server, json, os, re, threading, urllib.parse

PORT, AUTH_PORT = 5077, 5078
AUTHORIZATION = "Basic Z29sZGVuOnNlc2FtZQ=="     # golden:sesame
BODY_LIMIT = 64 << 20


class Store:
    """What run-cases' Store offers, without a disk."""

    def __init__(self):
        self.lock = threading.Lock()
        self.reset()

    def reset(self):
        self.blobs, self.repos, self.uploads, self.types, self.count = {}, {}, {}, {}, 0

    def push_layout(self, layout, repo, tag):
        with open(os.path.join(layout, "index.json")) as f:
            desc = json.load(f)["manifests"][0]

        def take(d):
            with open(os.path.join(layout, "blobs/sha256", d["digest"][7:]), "rb") as f:
                self.blobs[d["digest"]] = f.read()
        take(desc)
        man = json.loads(self.blobs[desc["digest"]])
        for d in [man["config"]] + man["layers"]:
            take(d)
        self.put(repo, tag, desc["digest"], man.get("mediaType") or desc["mediaType"])

    def put(self, repo, tag, digest, kind):
        r = self.repos.setdefault(repo, {"tags": {}, "revisions": []})
        if digest not in r["revisions"]:
            r["revisions"].append(digest)
        if tag:
            r["tags"][tag] = digest
        self.types[digest] = kind

    def blob(self, digest):
        try:
            return self.blobs[digest]
        except KeyError:
            raise FileNotFoundError(digest)

    def tags(self):
        return {"%s:%s" % (n, t): d for n, r in sorted(self.repos.items()) for t, d in sorted(r["tags"].items())}

    def revisions(self):
        return sorted({d for r in self.repos.values() for d in r["revisions"]})


class Faults:
    """Each: {"path": regex, "method": regex, "first": n (default all), "after": n, "status": code, "body": text, "headers": {…},
    "drop": true, "unless": an authorization that is let through}.

    `met` has the requests that were met by a rule that is for some only."""

    def __init__(self, rules):
        self.rules = [dict(r, seen=0) for r in rules]
        self.met = []

    def match(self, method, path, authorization=None):
        for r in self.rules:
            if "unless" in r and authorization == r["unless"]:
                continue
            if re.search(r["path"], path) and re.fullmatch(r.get("method", ".*"), method):
                r["seen"] += 1
                if r["seen"] > r.get("after", 0) and r["seen"] <= r.get("after", 0) + r.get("first", 1 << 30):
                    if "first" in r or "after" in r:
                        self.met.append("%s %s" % (method, re.sub("/uploads/.+", "/uploads/", path)))
                    return r
        return None


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = 64 << 10

    def log_message(self, *_):
        pass

    def say(self, code, body=b"", **headers):
        self.send_response(code)
        for k, v in headers.items():
            self.send_header(k.replace("_", "-"), v)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def error(self, code, what, **headers):
        text = json.dumps({"errors": [{"code": what, "message": what.lower().replace("_", " ")}]})
        self.say(code, text.encode(), Content_Type="application/json", **headers)

    def body(self):
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            out = b""
            while True:
                size = int(self.rfile.readline().split(b";")[0], 16)
                out += self.rfile.read(size)
                self.rfile.readline()
                if size == 0 or len(out) > BODY_LIMIT:
                    return out
        return self.rfile.read(min(int(self.headers.get("Content-Length") or 0), BODY_LIMIT))

    def answer(self):
        data = self.body()
        url = urllib.parse.urlsplit(self.path)
        query, path = urllib.parse.parse_qs(url.query), url.path
        server, store = self.server.owner, self.server.owner.store
        with store.lock:
            fault = server.faults.match(self.command, path, self.headers.get("Authorization"))
            if fault:
                if fault.get("drop"):
                    self.close_connection = True
                    return None
                return self.say(fault["status"], fault.get("body", "").encode(), **fault.get("headers", {}))
            if self.server.server_port == AUTH_PORT and self.headers.get("Authorization") != AUTHORIZATION:
                return self.error(401, "UNAUTHORIZED", WWW_Authenticate='Basic realm="golden"')
            if path in ("/v2/", "/v2"):
                return self.say(200, b"{}", Content_Type="application/json")
            m = re.fullmatch(r"/v2/(.+)/blobs/uploads/([^/]*)", path)
            if m:
                return self.upload(store, m[1], m[2], query, data)
            m = re.fullmatch(r"/v2/(.+)/(manifests|blobs)/([^/]*)", path)
            if m and m[2] == "manifests":
                return self.manifest(store, m[1], m[3], data)
            if m:
                return self.blob(store, m[3])
            return self.error(404, "NOT_FOUND")

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = answer

    def blob(self, store, digest):
        if digest not in store.blobs:
            return self.error(404, "BLOB_UNKNOWN")
        data, code, more = store.blobs[digest], 200, {}
        r = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if r:
            part = data[int(r[1]):int(r[2]) + 1 if r[2] else None]
            more = {"Content_Range": "bytes %s-%d/%d" % (r[1], int(r[1]) + len(part) - 1, len(data))}
            code, data = 206, part
        return self.say(code, data, Docker_Content_Digest=digest, Content_Type="application/octet-stream", **more)

    def manifest(self, store, repo, ref, data):
        if self.command == "PUT":
            digest = "sha256:" + hashlib.sha256(data).hexdigest()
            try:
                man = json.loads(data)
                needs = [d["digest"] for d in man.get("layers", []) + [man["config"]]]
            except (ValueError, KeyError, TypeError):
                return self.error(400, "MANIFEST_INVALID")
            if any(d not in store.blobs for d in needs):
                return self.error(400, "MANIFEST_BLOB_UNKNOWN")
            store.blobs[digest] = data
            store.put(repo, None if ref.startswith("sha256:") else ref, digest, self.headers.get("Content-Type", ""))
            return self.say(201, Docker_Content_Digest=digest, Location="/v2/%s/manifests/%s" % (repo, digest))
        r = store.repos.get(repo)
        if r is None:
            return self.error(404, "NAME_UNKNOWN")
        digest = ref if ref.startswith("sha256:") else r["tags"].get(ref)
        if digest not in r["revisions"]:
            return self.error(404, "MANIFEST_UNKNOWN")
        if self.command == "DELETE":
            r["revisions"].remove(digest)
            r["tags"] = {t: d for t, d in r["tags"].items() if d != digest}
            return self.say(202)
        return self.say(200, store.blobs[digest], Content_Type=store.types[digest], Docker_Content_Digest=digest)

    def upload(self, store, repo, uid, query, data):
        def done(data, digest):
            if digest != "sha256:" + hashlib.sha256(data).hexdigest():
                return self.error(400, "DIGEST_INVALID")
            store.blobs[digest] = data
            return self.say(201, Docker_Content_Digest=digest, Location="/v2/%s/blobs/%s" % (repo, digest))
        if self.command == "POST":
            if query.get("mount", [""])[0] in store.blobs:
                d = query["mount"][0]
                return self.say(201, Docker_Content_Digest=d, Location="/v2/%s/blobs/%s" % (repo, d))
            if "digest" in query:
                return done(data, query["digest"][0])
            store.count += 1
            uid = "%016x" % store.count
            store.uploads[uid] = data
            return self.say(202, Location="/v2/%s/blobs/uploads/%s" % (repo, uid), Docker_Upload_UUID=uid, Range="0-0")
        if uid not in store.uploads:
            return self.error(404, "BLOB_UPLOAD_UNKNOWN")
        store.uploads[uid] += data
        if self.command == "PATCH":
            end = max(len(store.uploads[uid]) - 1, 0)
            return self.say(202, Location="/v2/%s/blobs/uploads/%s" % (repo, uid), Range="0-%d" % end)
        if self.command == "PUT":
            return done(store.uploads.pop(uid), query.get("digest", [""])[0])
        return self.say(204)


class Quiet(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, *_):
        pass    # a phase that ended, or that was told to go away


class Server:
    def __init__(self):
        self.store, self.faults = Store(), Faults([])
        for port in (PORT, AUTH_PORT):
            s = Quiet(("127.0.0.1", port), Handler)
            s.owner = self
            threading.Thread(target=s.serve_forever, daemon=True).start()
