//! TOML files of the CNB, by the reader that reads as upstream does.

use lifecycle_core::files::group::Group;
use lifecycle_core::files::metadata::BuildMetadata;
use lifecycle_core::files::parse;
use toml::Table;

use crate::Target;

pub(crate) const TARGET: Target = Target {
    name: "toml",
    run,
    seeds,
    words: &[
        "[[group]]\n",
        "[[processes]]\n",
        "command = [\"",
        "id = \"a\"\n",
        "\"\"\"\n",
        "'''",
        "{ a = ",
        "[a.b]\n",
        "= 0x",
        "1979-05-27T07:32:00Z",
        "\\u00e9",
        "nan",
        "[[",
        "]]\n",
    ],
    short: 20_000,
};

fn seeds() -> Vec<Vec<u8>> {
    let group = "[[group]]\nid = \"a/b\"\nversion = \"1\"\napi = \"0.10\"\n[[group-extensions]]\nid = 'e'\noptional = true\n";
    let metadata = "buildpack-default-process-type = \"web\"\n[[processes]]\ntype = \"web\"\ncommand = [\"a\", \"b\"]\nargs = []\ndirect = true\n[[slices]]\npaths = [\"*\"]\n[[bom]]\nname = \"n\"\n[bom.metadata]\nx = {y = [1, 2.5, 0x1f]}\n";
    let odd = "a.b.c = 1\n\"e f\" = \"\"\"\nx\\\n  y\"\"\"\nr = '''z'''\nd = [1979-05-27 07:32:00.5, 07:32:00, 1979-05-27]\nt = {u = {v = [[1], [2]]}}\n[g.h]\ni = +1_000\nj = -1e3\n";
    [group, metadata, odd]
        .map(|it| it.as_bytes().to_vec())
        .into()
}

fn run(data: &[u8]) {
    let errors = [
        parse::<Table>(data).err(),
        parse::<Group>(data).err(),
        parse::<BuildMetadata>(data).err(),
    ];
    for error in errors.into_iter().flatten() {
        assert!(error.text.starts_with("toml: "), "{error}");
    }
    let theirs = std::str::from_utf8(data).ok().map(toml::from_str::<Table>);
    if let (Some(Ok(theirs)), Ok(ours)) = (theirs, parse::<Table>(data)) {
        assert_eq!(ours.to_string(), theirs.to_string());
    }
}
