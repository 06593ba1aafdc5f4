use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::sync::Mutex;
use std::time::Duration;

use oci::{Descriptor, DiffId, Digest, ImageConfig, ImageManifest, MediaType};

use super::*;
use crate::exec::{Capped, Host, Output, Run as _};
use crate::files::group::GroupElement;

/// A folder as root; its commands get it as `$ROOT`.
#[derive(Debug)]
struct InFolder {
    in_place: InPlace,
    folder: PathBuf,
    ran: usize,
}

impl Root for InFolder {
    fn look(&self, path: &Path) -> io::Result<Look> {
        self.in_place.look(path)
    }

    fn read(&self, path: &Path, limit: u64) -> io::Result<Option<String>> {
        self.in_place.read(path, limit)
    }

    fn run(&mut self, command: &Command, output: &dyn Output) -> Result<Exit, RunError> {
        self.ran += 1;
        let mut env: BTreeMap<_, _> = BTreeMap::new();
        for (name, value) in &command.env {
            env.insert(name.into(), value.into());
        }
        env.insert("ROOT".into(), self.folder.clone().into());
        let command = crate::exec::Command {
            program: command.words.first().into_iter().collect(),
            args: command.words.iter().skip(1).map(Into::into).collect(),
            env,
            dir: "/".into(),
        };
        Host::default().run(&command, output)
    }

    fn remember(&mut self) -> io::Result<()> {
        self.in_place.remember()
    }

    fn changes(&mut self) -> io::Result<Changes> {
        self.in_place.changes()
    }

    fn apply(&mut self, layer: &Path) -> Result<(), oci::ExtractError> {
        self.in_place.apply(layer)
    }
}

#[derive(Debug, Default)]
pub(super) struct Lines(Mutex<Vec<String>>, Capped);

impl Lines {
    pub(super) fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

impl Log for Lines {
    fn line(&self, level: Level, text: &str) {
        if level > Level::Debug {
            self.0.lock().unwrap().push(text.to_owned());
        }
    }

    fn output(&self, bytes: &[u8]) {
        self.1.write(bytes);
    }
}

/// What is extended, and where.
struct Case {
    folder: tempfile::TempDir,
    kind: ExtendKind,
    user: &'static str,
}

impl Case {
    fn new(dockerfiles: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (id, text) in dockerfiles {
            let dir = folder.path().join("generated").join(id);
            fs::create_dir_all(dir.join("context/sub")).unwrap();
            fs::write(dir.join("run.Dockerfile"), text).unwrap();
            fs::write(dir.join("context/file"), "file").unwrap();
            fs::write(dir.join("context/left.out"), "").unwrap();
            fs::write(dir.join("context/sub/inner"), "inner").unwrap();
            fs::write(dir.join("context/.dockerignore"), "*.out\n.dockerignore\n").unwrap();
        }
        Self {
            folder,
            kind: ExtendKind::Run,
            user: "1000",
        }
    }

    /// A new root, as from the image.
    fn root(&self) -> InFolder {
        let folder = self.folder.path().join("root");
        if folder.exists() {
            fs::remove_dir_all(&folder).unwrap();
        }
        fs::create_dir_all(folder.join("etc")).unwrap();
        fs::create_dir_all(folder.join("old")).unwrap();
        fs::write(folder.join("old/gone"), "").unwrap();
        fs::write(
            folder.join("etc/passwd"),
            "root:x:0:0::/root:\ncnb:x:1000:50::/home/cnb:\n",
        )
        .unwrap();
        InFolder {
            in_place: InPlace::of_folder(&folder),
            folder,
            ran: 0,
        }
    }

    fn extend(&self, root: &mut InFolder, log: &Lines) -> Result<Extended, ExtendError> {
        let layer = Descriptor::of(MediaType::LAYER_GZIP, b"base");
        let mut config = ImageConfig {
            os: "linux".to_owned(),
            architecture: "amd64".to_owned(),
            ..ImageConfig::default()
        };
        config.rootfs.diff_ids = vec![DiffId(Digest::of(b"base"))];
        config.config.user = self.user.to_owned();
        config.config.env = vec!["PATH=/bin:/usr/bin".to_owned()];
        let manifest = ImageManifest {
            schema_version: 2,
            media_type: Some(MediaType::IMAGE_MANIFEST),
            config: layer.clone(),
            layers: vec![],
            annotations: BTreeMap::new(),
            subject: None,
            artifact_type: None,
        };
        let base = Image::new(&manifest, config, vec![layer]).unwrap();
        let generated = self.folder.path().join("generated");
        let mut ids: Vec<String> = fs::read_dir(&generated)
            .unwrap()
            .map(|it| it.unwrap().file_name().into_string().unwrap())
            .collect();
        ids.sort();
        let element = |id: &String| GroupElement {
            id: id.clone(),
            ..GroupElement::default()
        };
        let group = Group {
            group_extensions: ids.iter().map(element).collect(),
            ..Group::default()
        };
        let temporary = tempfile::tempdir_in(self.folder.path()).unwrap();
        let context = ExtendContext {
            api: "0.13".parse().unwrap(),
            kind: self.kind,
            reference: "base",
            base: &base,
            group: &group,
            generated_dir: &generated,
            app_dir: self.folder.path(),
            build_ids: &["id".to_owned(), "id".to_owned()],
            cache: &LayerCache {
                folder: self.folder.path().join("cache"),
                also: None,
                ttl: Duration::from_secs(1000),
                now: fs::metadata(&generated).unwrap().modified().unwrap(),
            },
            times: Times::AtMost(315_532_801),
            temporary_dir: &temporary.keep(),
        };
        extend(&context, root, log)
    }
}

/// The names in a layer.
fn names(layer: &Layer) -> Vec<String> {
    let file = fs::File::open(&layer.file).unwrap();
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(file));
    let entries = archive.entries().unwrap();
    let names = entries.map(|it| it.unwrap().path().unwrap().display().to_string());
    names.collect()
}

const FIRST: &str = "ARG base_image\nFROM ${base_image}\nUSER root\n\
    RUN mkdir $ROOT/new && echo a > $ROOT/new/a && rm -r $ROOT/old && ln $ROOT/new/a $ROOT/new/b\n\
    COPY --chown=cnb --chmod=640 . /old/\nENV X=1 Y=\"$X b\"\nRUN true\nUSER 1000:50\n";

const SECOND: &str = "FROM x\nARG user_id\nARG build_id\nLABEL io.buildpacks.rebasable=true\n\
    WORKDIR /work/$X\nCOPY <<E /doc\n$X\nE\nUSER ${user_id}\n";

#[test]
fn dockerfiles_make_layers_and_a_config() {
    let case = Case::new(&[("a", FIRST), ("b", SECOND)]);
    let (mut root, log) = (case.root(), Lines::default());
    let extended = case.extend(&mut root, &log).unwrap();
    let layers: Vec<_> = extended.layers.iter().map(names).collect();
    assert_eq!(layers[0], [".wh.old", "new/", "new/a", "new/b"]);
    assert_eq!(layers[1], ["old/", "old/file", "old/sub/", "old/sub/inner"]);
    assert_eq!(layers[2], ["work/", "work/1/"]);
    assert_eq!(layers[3], ["doc"]);
    let config = extended.image.config();
    assert_eq!(config.config.env, ["PATH=/bin:/usr/bin", "X=1", "Y= b"]);
    assert_eq!(config.config.user, "1000");
    assert_eq!(config.config.working_dir, "/work/1");
    assert_eq!(
        config.config.labels.get(REBASABLE).map(String::as_str),
        Some("false")
    );
    let history: Vec<_> = config
        .history
        .iter()
        .map(|it| it.created_by.as_str())
        .collect();
    assert_eq!(
        history[2..],
        [
            "Layer: 'COPY --chown=cnb --chmod=640 . /old/', Created by extension: a",
            "Layer: 'WORKDIR /work/$X', Created by extension: b",
            "Layer: 'COPY <<E /doc', Created by extension: b",
        ]
    );
    assert_eq!(history.len(), config.rootfs.diff_ids.len());
    assert_eq!(fs::read_to_string(root.folder.join("doc")).unwrap(), "1\n");
    let mode = fs::metadata(root.folder.join("old/file"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o7777, 0o640);

    // Again, in a root as it was: nothing is run, and the image is the same.
    let (mut again, log) = (case.root(), Lines::default());
    let same = case.extend(&mut again, &log).unwrap();
    assert_eq!((root.ran, again.ran), (2, 0));
    assert_eq!(same.image.descriptor(), extended.image.descriptor());
    let links = fs::metadata(again.folder.join("new/a")).unwrap().nlink();
    assert_eq!((links, again.folder.join("old/gone").exists()), (2, false));
    let lines = log.0.into_inner().unwrap();
    assert!(
        lines
            .iter()
            .any(|it| it == "Using cached layer for cmd RUN true"),
        "{lines:?}"
    );
}

#[test]
fn all_extensions_have_to_allow_a_rebase() {
    let rebasable = "FROM x\nLABEL io.buildpacks.rebasable=1\n";
    let label = |dockerfiles: &[(&str, &str)]| {
        let case = Case::new(dockerfiles);
        let extended = case.extend(&mut case.root(), &Lines::default()).unwrap();
        extended.image.label(REBASABLE).map(str::to_owned)
    };
    assert_eq!(
        label(&[("a", rebasable), ("b", rebasable)]).as_deref(),
        Some("true")
    );
    assert_eq!(
        label(&[("a", "FROM x\nENV a=b\n"), ("b", rebasable)]).as_deref(),
        Some("false")
    );
}

#[test]
fn a_run_image_is_not_left_to_root() {
    for user in ["root", "0", "0:0", "00", "+0", ":1000", "\"\""] {
        let mut case = Case::new(&[("a", &format!("FROM x\nUSER {user}\n"))]);
        let error = case
            .extend(&mut case.root(), &Lines::default())
            .unwrap_err();
        assert!(matches!(error, ExtendError::Root), "{error}");
        case.kind = ExtendKind::Build;
        let dir = case.folder.path().join("generated/a");
        fs::rename(dir.join("run.Dockerfile"), dir.join("build.Dockerfile")).unwrap();
        let log = Lines::default();
        case.extend(&mut case.root(), &log).unwrap();
        let lines = log.0.into_inner().unwrap();
        assert!(
            lines[0].contains("changed the user ID from 1000 to"),
            "{lines:?}"
        );
    }
}

#[test]
fn scripts_are_run_by_the_shell_or_by_what_they_say() {
    let text = "FROM x\nSHELL [\"/bin/sh\", \"-euc\"]\nRUN <<E\nx=1\necho $x > $ROOT/one\nE\n\
        RUN cat <<A - <<B > $ROOT/two\nlost\nA\nkept $HOME\nB\n";
    let case = Case::new(&[("a", text)]);
    let mut root = case.root();
    case.extend(&mut root, &Lines::default()).unwrap();
    let read = |name: &str| fs::read_to_string(root.folder.join(name)).unwrap();
    assert_eq!(
        (read("one"), read("two")),
        ("1\n".into(), "kept /home/cnb\n".into())
    );
}

#[test]
fn what_cannot_be_done_is_told_by_file_line_and_text() {
    let told = |text: &str| {
        let case = Case::new(&[("a", &format!("FROM x\n\n{text}\n"))]);
        let error = case
            .extend(&mut case.root(), &Lines::default())
            .unwrap_err();
        let text = go::words::chain(&error);
        assert!(text.contains("run.Dockerfile"), "{text}");
        text
    };
    for (text, expected) in [
        (
            "RUN exit 7",
            "line 3, `RUN exit 7`: the command ended with exit status 7",
        ),
        (
            "RUN --mount=type=cache,target=/x true",
            "--mount is not supported",
        ),
        (
            "RUN --security=insecure true",
            "--security is not supported",
        ),
        ("COPY none /", "`none` is not in the build context"),
        ("COPY left.out /", "`left.out` is not in the build context"),
        ("COPY ../../../secret /", "is not in the build context"),
        ("COPY * /new", "several files are copied to `/new`"),
        ("COPY --from=x a b", "--from is not supported"),
        ("COPY --chown=nobody file /", "no user `nobody`"),
        ("COPY --chmod=u+x file /", "`u+x` is not a permission"),
        ("COPY sub /etc/passwd", "is there already"),
        ("COPY sub /etc/passwd/x", "failed to use `/etc/passwd/x`"),
        ("ADD https://x.example/a /", "use RUN"),
        ("USER ${x?}", "not allowed to be unset"),
        ("HEALTHCHECK NONE", "not supported in an extension"),
        ("RUN true\nFROM y", "multistage"),
    ] {
        let found = told(text);
        assert!(found.contains(expected), "{text}: {found}");
    }
}

#[test]
fn links_of_the_context_do_not_lead_out_of_it() {
    let case = Case::new(&[("a", "FROM x\nCOPY link /copied\n")]);
    fs::write(case.folder.path().join("secret"), "secret").unwrap();
    let link = case.folder.path().join("generated/a/context/link");
    std::os::unix::fs::symlink("../../../secret", link).unwrap();
    let error = case
        .extend(&mut case.root(), &Lines::default())
        .unwrap_err();
    let text = go::words::chain(&error);
    assert!(text.contains("is not in the build context"), "{text}");
}

#[test]
fn archives_are_unpacked_unless_that_is_not_wanted() {
    let case = Case::new(&[(
        "a",
        "FROM x\nADD a.tar /in/\nADD --unpack=false a.tar /out/\nCOPY a.tar /copy\n",
    )]);
    let mut archive = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_ustar();
    header.set_size(1);
    header.set_mode(0o600);
    archive.append_data(&mut header, "d/x", &b"x"[..]).unwrap();
    // `.dockerignore` is about the context, and not about what is in an archive.
    let ignored = archive.append_data(&mut header, "left.out", &b"x"[..]);
    ignored.unwrap();
    let context = case.folder.path().join("generated/a/context");
    fs::write(context.join("a.tar"), archive.into_inner().unwrap()).unwrap();
    let extended = case.extend(&mut case.root(), &Lines::default()).unwrap();
    let layers: Vec<_> = extended.layers.iter().map(names).collect();
    assert_eq!(layers[0], ["in/", "in/d/", "in/d/x", "in/left.out"]);
    assert_eq!(layers[1], ["out/", "out/a.tar"]);
    assert_eq!(layers[2], ["copy"]);
}

#[test]
fn no_folder_is_younger_than_is_allowed() {
    let case = Case::new(&[("a", "FROM x\nCOPY file /old/\nWORKDIR /old/new\n")]);
    let extended = case.extend(&mut case.root(), &Lines::default()).unwrap();
    let mut count = 0;
    for layer in &extended.layers {
        let file = fs::File::open(&layer.file).unwrap();
        let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(file));
        for entry in archive.entries().unwrap() {
            assert!(entry.unwrap().header().mtime().unwrap() <= 315_532_801);
            count += 1;
        }
    }
    assert!(count > 2);
}
