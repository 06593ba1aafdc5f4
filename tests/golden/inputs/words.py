"""Random values: strings, TOML, environment, flags. Every generator takes them from here."""
import json, re

STRINGS = ["", "a", "1", "true", "web", "a b", "<&>", "é", "中", "\U0001f600", "\"q\"", "back\\slash", "tab\there", "new\nline", "'", "$HOME",
           "\x7f", "\u2028", "\u200b", "\ufeff", "\x01", "%s", "a=b", "a:b", "/", "..", "-e", "0.10", "\r", "#", "[x]", "x" * 70]
KEYS = ["a", "b", "k-1", "k_2", "Upper", "7", "\"quoted key\"", "'lit'", "\"é\"", "\"\"", "\"a.b\"", "x.y", "x . z", "name", "version", "z"]
SCALARS = {
    "int": ["0", "1", "-1", "+7", "1_000", "0xff", "0o17", "0b101", "9223372036854775807", "-9223372036854775808", "9007199254740993",
            "1000000", "100000000000000000000"[:18], "0xDEAD_beef"],
    "float": ["0.0", "-0.0", "1.5", "1e3", "1E-7", "6.02e23", "1e21", "1e20", "1e-6", "1_0.5_0", "3.0", "0.1", "1e400"[:3], "123456789.125", "+1.0",
              "1.7976931348623157e308", "5e-324", "100.0", "1e6"],
    "bool": ["true", "false"],
    "date": ["1979-05-27T07:32:00Z", "1979-05-27T00:32:00-07:00", "1979-05-27T00:32:00.999999-07:00", "1979-05-27T07:32:00", "1979-05-27",
             "07:32:00", "07:32:00.5", "1979-05-27 07:32:00Z", "1979-05-27t07:32:00z", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59.123456789+14:00",
             "2000-02-29"],
}
BAD_SCALARS = ["inf", "-inf", "nan", "01", "1__0", "_1", "1_", "0x", "0xG", "9223372036854775808", "1.", ".5", "1e", "1.e3", "TRUE", "yes", "tru", "nope",
               "1979-13-01", "1979-05-27T25:00:00Z", "1979-02-30", "07:32", "07:32:60", "\"open", "'open", "\"\\x\"", "\"\\u12\"", "\"\\uD800\"", "[1, 2",
               "{a = 1", "{a = 1,}", "[1 2]", "{a 1}", "[,]", "[1,,2]", "\"\"\"x", "'''y", "", "+", "-", "0b2", "0o8", "+0x1", "\"a\" b", "1 2", "@", "\\",
               "{\n a = 1}", "{a = 1, a = 2}", "00:00", "1e5_", "0_1", "1979-05-27T", "\"\\U00110000\"", "\"a\tb\"", "'a\x01b'", "\"\\e\"", "\"\\x41\""]


class Words:
    def __init__(self, rng, wild=0.0):
        self.rng, self.wild = rng, wild

    def chance(self, p):
        return self.rng.random() < p

    def pick(self, items):
        return self.rng.choice(items)

    def some(self, items, most=3):
        return self.rng.sample(items, self.rng.randint(0, min(most, len(items))))

    def odd(self, p=0.3):
        """Whether to do something wrong here; never in a case that is not wild."""
        return self.chance(self.wild * p)

    # ------------------------------------------------ TOML

    def string(self, text=None):
        if text is None:
            text = self.pick(STRINGS)
        if self.chance(0.15) and "'" not in text and not re.search(r"[\x00-\x08\x0a-\x1f\x7f]", text):
            return "'%s'" % text
        if self.chance(0.05) and "'''" not in text and not text.startswith("\n") and not text.endswith("'") \
                and not re.search(r"[\x00-\x08\x0b-\x1f\x7f]", text):
            return "'''\n%s'''" % text
        out = json.dumps(text, ensure_ascii=self.chance(0.1))
        if re.search(r"\\ud[89a-f]", out):
            out = json.dumps(text, ensure_ascii=False)
        return out.replace("\x7f", "\\u007F")

    def scalar(self):
        kind = self.pick(["str", "str", "int", "float", "bool", "date"])
        return self.string() if kind == "str" else self.pick(SCALARS[kind])

    def value(self, depth=2):
        r = self.rng.random()
        if self.odd(0.1):
            return self.pick(BAD_SCALARS)
        if depth and r < 0.15:
            n = self.rng.randint(0, 3)
            if self.chance(0.5):
                kind = self.pick(["str", "int", "float", "bool", "date"])
                items = [self.string() if kind == "str" else self.pick(SCALARS[kind]) for _ in range(n)]
            else:
                items = [self.value(depth - 1) for _ in range(n)]
            return "[%s%s]" % (", ".join(items), "," if items and self.chance(0.1) else "")
        if depth and r < 0.27:
            keys = self.distinct_keys(self.rng.randint(0, 3))
            return "{%s}" % ", ".join("%s = %s" % (k, self.value(depth - 1)) for k in keys)
        return self.scalar()

    def distinct_keys(self, n):
        """Keys of which none is another or leads through another."""
        out, seen = [], set()
        for k in self.rng.sample(KEYS, n):
            parts = [p.strip(" \"'") for p in re.split(r"\.(?=(?:[^\"]*\"[^\"]*\")*[^\"]*$)", k)]
            if parts[0] not in seen:
                seen.add(parts[0])
                out.append(k)
        return out

    def pairs(self, most=3, depth=2):
        keys = self.distinct_keys(self.rng.randint(0, most))
        return "".join("%s = %s\n" % (k, self.value(depth)) for k in keys)

    def table(self, name, most=3):
        """[name] with pairs and now and then a table or an array of tables below."""
        out = "[%s]\n%s" % (name, self.pairs(most))
        if self.chance(0.2):
            out += "[%s.sub]\n%s" % (name, self.pairs(2))
        if self.chance(0.15):
            for _ in range(self.rng.randint(1, 2)):
                out += "[[%s.list]]\n%s" % (name, self.pairs(2))
        return out

    def toml(self, text):
        """The text, or in a wild case something near it."""
        if not self.odd(0.25):
            return text
        for _ in range(self.pick([1, 1, 1, 2])):
            text = self.mangle(text)
        return text

    def mangle(self, text):
        lines = text.split("\n")
        i = self.rng.randrange(len(lines))
        line = lines[i]
        kind = self.rng.randrange(16)
        if kind == 0:
            lines.insert(i, line)
        elif kind == 1:
            del lines[i]
        elif kind == 2 and line:
            j = self.rng.randrange(len(line))
            lines[i] = line[:j] + line[j + 1:]
        elif kind == 3:
            j = self.rng.randrange(len(line) + 1)
            lines[i] = line[:j] + self.pick(list("\"'[]{}=.,#\\ \t0a-") + ["\x01", "é", "\n"]) + line[j:]
        elif kind in (4, 5) and "=" in line:
            k = line.split("=")[0]
            lines[i] = k + "= " + (self.value() if self.chance(0.6) else self.pick(BAD_SCALARS))
        elif kind in (6, 7):
            # A part of a key in other letters, everywhere: one that is there in both is read at random upstream.
            m = re.match(r"[ \t\[]*([A-Za-z0-9_.-]+)(?=[ .\]=])", line)
            if m and "<<'E" not in text:
                part = self.pick([p for p in m[1].split(".") if p] or ["x"])
                other = self.pick([part.upper(), part.title(), part.swapcase()])
                return re.sub(r"(?m)^([ \t\[]*(?:[\w-]+\.)*)%s(?=[ .\]=])" % re.escape(part), lambda k: k[1] + other, text)
        elif kind == 8:
            m = re.match(r"\[\[(.*)\]\]", line)
            lines[i] = "[%s]" % m[1] if m else re.sub(r"^\[(.*)\]$", r"[[\1]]", line)
        elif kind == 9:
            return text[:self.rng.randrange(len(text) + 1)]
        elif kind == 10:
            lines.insert(i, self.pairs(1).strip())
        elif kind == 11:
            lines.insert(i, self.pick(["[" + self.pick(["a", "order", "buildpack", "metadata"]) + "]", "nonsense", "= 1", "[", "[]", "[[x]", "a.b.c = 1",
                                       "x = 1 # c", "\ufeff", "a = ", "[a.]", "[.a]", "a. = 1", "\"\" = 1", "'x = 1", "[a] b"]))
        elif kind == 12 and i + 1 < len(lines):
            lines[i], lines[i + 1] = lines[i + 1], lines[i]
        elif kind == 13 and "=" in line:
            k, v = line.split("=", 1)
            lines.insert(i + 1, self.pick([k.upper() + "=" + v, k.title() + "=" + v, k + "= " + self.value(), line]))
        elif kind == 14:
            return self.pick(["", "\n", text + text, text.replace("\n", "\r\n"), text.replace("\n", "\r"), "\ufeff" + text, text.rstrip("\n")])
        elif kind == 15:
            lines[i] = line.replace("\"", self.pick(["'", "", "\"\"\"", "\\\""]))
        return "\n".join(lines)

    # ------------------------------------------------ shell

    def heredoc(self, path, text):
        end = "E%d" % self.rng.randrange(10 ** 6)
        if not text.endswith("\n"):
            return "printf '%%s' '%s' > %s\n" % (text.replace("'", "'\\''"), path)
        return "cat > %s <<'%s'\n%s%s\n" % (path, end, text, end)
