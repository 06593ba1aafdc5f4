//! What a user reads: each with its exit code, standard output and standard error.

#![expect(
    clippy::too_many_lines,
    reason = "what is said is long; what is done for it is not"
)]

mod policies;

use insta::assert_snapshot;
use testkit::{Output, Project, free_port, repository};

/// What `sealpack` says to these arguments.
pub(crate) fn says(project: &Project, arguments: &[&str]) -> String {
    project.transcript(&project.run(arguments))
}

/// What `sealpack build` says to these arguments, beside those for app, builder, key and output.
pub(crate) fn build_says(project: &Project, arguments: &[&str]) -> String {
    let common = ["--key", "test.key", "--tag", "oci:out:v1"];
    let output = Output::of(project.build_command(common).args(arguments));
    project.transcript(&output)
}

#[test]
fn a_build_says_one_line_a_phase() {
    let project = Project::typical();
    let judged = ["--policy", "policy"];
    assert_snapshot!(build_says(&project, &judged), @r#"
exit: 0
--- stdout
accepted oci:out@sha256:[digest]
  ✓ claim cyclonedx, by key sha256:[digest]
  ✓ claim signature, by key sha256:[digest]
  ✓ claim provenance, by key sha256:[digest]
  ✓ claim spdx, by key sha256:[digest]
  ✓ rules sbom
  ✓ rules signature
  ✓ rules slsa
--- stderr
  analyze  no previous image; run image: static
   detect  test/typical 1.0.0
  restore  the cache is empty
    build  test/typical in [time]
   export  sha256:[digest] (6 layers, 0 reused)
     sbom  CycloneDX: 5 components, SPDX: 6 packages
   attest  provenance, cyclonedx, spdx, signature
   policy  accepted: 7 of 7 checks passed
  publish  oci:out:v1 ([size] written)
"#);
    assert_snapshot!(build_says(&project, &judged), @r#"
exit: 0
--- stdout
accepted oci:out@sha256:[digest]
  ✓ claim cyclonedx, by key sha256:[digest]
  ✓ claim signature, by key sha256:[digest]
  ✓ claim provenance, by key sha256:[digest]
  ✓ claim spdx, by key sha256:[digest]
  ✓ rules sbom
  ✓ rules signature
  ✓ rules slsa
--- stderr
  analyze  previous image oci:out@sha256:[digest]; run image: static
   detect  test/typical 1.0.0
  restore  3 from the cache
    build  test/typical in [time]
   export  sha256:[digest] (6 layers, 6 reused)
     sbom  CycloneDX: 5 components, SPDX: 6 packages
   attest  provenance, cyclonedx, spdx, signature
   policy  accepted: 7 of 7 checks passed
  publish  oci:out:v1 ([size] written)
"#);
    assert_snapshot!(build_says(&project, &["--quiet"]), @r#"
exit: 0
--- stdout
built oci:out@sha256:[digest]
--- stderr
"#);
    // Blobs are copied in no certain order.
    let copied = |line: &&str| {
        let line = line.trim_start();
        // Of builds within a second, which claim is the newer one is up to their digests.
        let words = ["exists ", "copied ", "deleted "];
        !words.iter().any(|it| line.starts_with(it))
    };
    let verbose = build_says(&project, &["--policy", "policy", "-v", "--no-cache"]);
    let verbose: Vec<_> = verbose.lines().filter(copied).collect();
    assert_snapshot!(verbose.join("\n"), @r#"
exit: 0
--- stdout
accepted oci:out@sha256:[digest]
  ✓ claim cyclonedx, by key sha256:[digest]
  ✓ claim signature, by key sha256:[digest]
  ✓ claim provenance, by key sha256:[digest]
  ✓ claim spdx, by key sha256:[digest]
  ✓ rules sbom
  ✓ rules signature
  ✓ rules slsa
--- stderr
           Image with name "sealpack.invalid/staged" not found
  analyze  no previous image; run image: static
           test/typical 1.0.0
   detect  test/typical 1.0.0
  restore  skipped: caching is off
           hello from typical
    build  test/typical in [time]
           Adding layer 'test/typical:kept'
           Adding layer 'buildpacksio/lifecycle:launch.sbom'
           Added 1/1 app layer(s)
           Adding layer 'buildpacksio/lifecycle:launcher'
           Adding layer 'buildpacksio/lifecycle:config'
           Adding layer 'buildpacksio/lifecycle:process-types'
           Adding label 'io.buildpacks.lifecycle.metadata'
           Adding label 'io.buildpacks.build.metadata'
           Adding label 'io.buildpacks.project.metadata'
           Adding label 'io.buildpacks.exec-env'
           Setting default process type 'web'
           Saving sealpack.invalid/staged...
           *** Images (sha256:[digest]):
                 sealpack.invalid/staged
   export  sha256:[digest] (6 layers, 0 reused)
     sbom  CycloneDX: 5 components, SPDX: 6 packages
   attest  provenance, cyclonedx, spdx, signature
   policy  accepted: 7 of 7 checks passed
  publish  oci:out:v1 ([size] written)
"#);
}

#[test]
fn colours_come_when_they_are_asked_for() {
    let project = Project::typical();
    let coloured = build_says(&project, &["--color", "always", "--policy", "policy"]);
    assert!(coloured.contains("\x1b["), "{coloured}");
    assert_snapshot!(coloured.replace('\x1b', "ESC"), @r#"
exit: 0
--- stdout
ESC[1;32macceptedESC[0m oci:out@sha256:[digest]
  ESC[1;32m✓ESC[0m claim cyclonedx, by key sha256:[digest]
  ESC[1;32m✓ESC[0m claim signature, by key sha256:[digest]
  ESC[1;32m✓ESC[0m claim provenance, by key sha256:[digest]
  ESC[1;32m✓ESC[0m claim spdx, by key sha256:[digest]
  ESC[1;32m✓ESC[0m rules sbom
  ESC[1;32m✓ESC[0m rules signature
  ESC[1;32m✓ESC[0m rules slsa
--- stderr
ESC[1;32m  analyzeESC[0m  no previous image; run image: static
ESC[1;32m   detectESC[0m  test/typical 1.0.0
ESC[1;32m  restoreESC[0m  the cache is empty
ESC[1;32m    buildESC[0m  test/typical in [time]
ESC[1;32m   exportESC[0m  sha256:[digest] (6 layers, 0 reused)
ESC[1;32m     sbomESC[0m  CycloneDX: 5 components, SPDX: 6 packages
ESC[1;32m   attestESC[0m  provenance, cyclonedx, spdx, signature
ESC[1;32m   policyESC[0m  accepted: 7 of 7 checks passed
ESC[1;32m  publishESC[0m  oci:out:v1 ([size] written)
"#);
    for arguments in [&["--color", "never"][..], &[]] {
        let plain = build_says(&project, arguments);
        assert!(!plain.contains('\x1b'), "{plain}");
    }
}

#[test]
fn arguments_that_are_missing_or_wrong() {
    let project = Project::typical();
    let build = ["build", "app", "--builder", "builder.toml"];
    let says = |arguments: &[&str]| says(&project, arguments);
    let build = |arguments: &[&str]| says(&[&build, arguments].concat());
    assert_snapshot!(says(&[]), @r#"
exit: 2
--- stdout
--- stderr
Builds, signs, attests, verifies and judges container images

Usage: sealpack [OPTIONS] <COMMAND>

Commands:
  build       Build an image from source, sign it, attach its SBOMs and provenance, and check it
              against a policy
  builder     Make and inspect builder images
  buildpack   Make and inspect packages of buildpacks
  extension   Make and inspect packages of image extensions
  key         Generate key pairs, and print public keys
  sign        Sign an image
  attest      Attach a signed claim to an image
  verify      Verify that an image is signed, or has other claims by an accepted signer
  tree        Show what is attached to an image
  inspect     Show what an image is and how it was built
  sbom        Generate, convert and merge SBOMs
  policy      Judge images by policies
  copy        Copy an image, and the signatures, SBOMs and provenance that are attached to it
              [alias: cp]
  config      Show the settings from variables and `sealpack.toml`, and where each comes from
              [alias: env]
  manifest    Combine images for several platforms into one index
  mirror      Mirror images that a policy accepts
  rebase      Put an image on another run image, without building it again
  serve       Run a Kubernetes admission webhook that admits only images that a policy accepts
  unpack      Unpack the root file system of an image into a folder
  delete      Delete an image, or something that is attached to one
  doctor      Check what builds and registries need on this machine, and say what to do
  gc          Remove unreferenced content from an OCI layout
  health      Measure the community health of a source repository
  report      Report what is in an image, what is attached to it, and what of that is verified
  login       Log in to a registry
  ls          List the tags of a repository, layout, archive or Docker daemon
  logout      Log out of a registry
  completion  Print a completion script for a shell
  man         Write manual pages, one a command, into a folder
  version     Show the version of this program, and of the specifications that it knows
  help        Print this message or the help of the given subcommand(s)

Options:
  -h, --help     Print help (see more with '--help')
  -V, --version  Print version

General:
  -q, --quiet       Print results and errors only
  -v, --verbose...  Show details, such as what buildpacks and the lifecycle print

All flags: --help
"#);
    assert_snapshot!(says(&["bild"]), @r#"
exit: 2
--- stdout
--- stderr
error: unrecognized subcommand 'bild'

  tip: some similar subcommands exist: 'buildpack', 'builder', 'build'

Usage: sealpack [OPTIONS] <COMMAND>

For more information, try '--help'.
"#);
    assert_snapshot!(build(&["--tag", "oci:out:v1"]), @"
exit: 2
--- stdout
--- stderr
error: the following required arguments were not provided:
  <--key <FILE>|--new-key <PREFIX>|--unsigned|--signing-config <FILE|public>|--fulcio-url <URL>>

Usage: sealpack build --builder <IMAGE|FILE> --tag <IMAGE> <--key <FILE>|--new-key <PREFIX>|--unsigned|--signing-config <FILE|public>|--fulcio-url <URL>> <APP>

For more information, try '--help'.
");
    assert_snapshot!(build(&["--unsigned"]), @"
exit: 2
--- stdout
--- stderr
error: the following required arguments were not provided:
  --tag <IMAGE>

Usage: sealpack build --builder <IMAGE|FILE> --tag <IMAGE> <--key <FILE>|--new-key <PREFIX>|--unsigned|--signing-config <FILE|public>|--fulcio-url <URL>> <APP>

For more information, try '--help'.
");
    assert_snapshot!(build(&["--unsigned", "--output", "json"]), @r#"
exit: 2
--- stdout
{
  "error": "nothing says where the image goes",
  "causes": [],
  "hints": [
    "add `--tag HOST/REPO:TAG` or `--tag oci:DIR:TAG`"
  ]
}
--- stderr
error: nothing says where the image goes
hint: add `--tag HOST/REPO:TAG` or `--tag oci:DIR:TAG`
"#);
    assert_snapshot!(build(&["--unsigned", "--tag", "Not An Image"]), @r#"
exit: 2
--- stdout
--- stderr
error: `Not An Image` is not a place for an image
  cause: `library/Not An Image` is not the name of a repository: lower-case letters, digits, `.`, `_`, `-` and `/`
hint: use `HOST/REPO:TAG` or `oci:DIR:TAG`
"#);
    let digest = format!("oci:out@sha256:{}", "0".repeat(64));
    assert_snapshot!(build(&["--unsigned", "--tag", &digest]), @r#"
exit: 2
--- stdout
--- stderr
error: `oci:out@sha256:[digest]` names a digest, but nobody knows the digest of an image before it is built
hint: name a tag: `HOST/REPO:TAG` or `oci:DIR:TAG`
"#);
    assert_snapshot!(build(&["--unsigned", "--tag", "oci:out:v1", "--policy", "policy"]), @"
exit: 2
--- stdout
--- stderr
error: the argument '--unsigned' cannot be used with '--policy <FILE|DIR>'

Usage: sealpack build --builder <IMAGE|FILE> --tag <IMAGE> <--key <FILE>|--new-key <PREFIX>|--unsigned|--signing-config <FILE|public>|--fulcio-url <URL>> <APP>

For more information, try '--help'.
");
    assert_snapshot!(build(&["--unsigned", "--tag", "oci:out:v1", "--env", "NOT_SET"]), @r#"
exit: 2
--- stdout
--- stderr
error: the variable `NOT_SET` is not set
hint: give it a value: `NAME=VALUE`
"#);
    assert_snapshot!(build(&["--unsigned", "--tag", "oci:out:v1", "--env", "A/B=C"]), @r#"
exit: 2
--- stdout
--- stderr
error: `A/B` is not the name of a variable
"#);
    assert_snapshot!(build(&["--unsigned", "--tag", "oci:out:v1", "--run-image", "oci:nowhere:v1"]), @r#"
exit: 2
--- stdout
--- stderr
error: folder `nowhere` not found
"#);
    assert_snapshot!(build(&["--unsigned", "--tag", "oci:out:v1", "--process-type", "nothing"]), @r#"
exit: 2
--- stdout
--- stderr
  analyze  no previous image; run image: static
   detect  test/typical 1.0.0
  restore  the cache is empty
    build  test/typical in [time]
error: process type `nothing` does not exist
hint: the buildpacks defined: web
"#);
    assert_snapshot!(build(&["--unsigned", "--tag", "oci:out:v1", "--lifecycle", "app"]), @r#"
exit: 2
--- stdout
--- stderr
error: `lifecycle` and `launcher` are missing in `app`
hint: leave out `--lifecycle`, and `sealpack` itself is the lifecycle
"#);
    assert_snapshot!(says(&["build", "nowhere", "--unsigned", "--tag", "oci:out:v1"]), @r#"
exit: 2
--- stdout
--- stderr
error: `nowhere` is not a folder with an app
"#);
    assert_snapshot!(says(&["verify", "oci:out:v1", "--key", "test.pub", "--claim", "no such"]), @r#"
exit: 2
--- stdout
--- stderr
error: unknown claim `no such`
hint: known: provenance, signature, custom, cyclonedx, health, link, openvex, slsaprovenance1, provenance-v0.2, slsaprovenance02, slsaprovenance, spdx, spdxjson, vsa, vuln, or the URI of a predicate type
"#);
}

#[test]
fn keys_that_cannot_be_used() {
    let project = Project::typical();
    let key = |arguments: &[&str], password: Option<&str>| {
        let mut command = project.sealpack(["build", "app", "--builder", "builder.toml"]);
        command.args(["--tag", "oci:out:v1"]).args(arguments);
        match password {
            Some(password) => command.env("COSIGN_PASSWORD", password),
            None => command.env_remove("COSIGN_PASSWORD"),
        };
        project.transcript(&Output::of(&mut command))
    };
    let locked = repository().join("tests/fixtures/keys/cosign.key");
    fs_err::copy(locked, project.join("locked.key")).unwrap();
    project.write("junk.key", "junk");
    assert_snapshot!(key(&["--key", "nowhere.key"], None), @r#"
exit: 2
--- stdout
--- stderr
error: file `nowhere.key` not found
"#);
    assert_snapshot!(key(&["--key", "app"], None), @r#"
exit: 2
--- stdout
--- stderr
error: the private key `[workspace]/app` lies in the app's folder, and would be in the image
hint: keep it elsewhere
"#);
    assert_snapshot!(key(&["--key", "junk.key"], None), @r#"
exit: 2
--- stdout
--- stderr
error: failed to read the private key `junk.key`
  cause: not a PEM file
"#);
    assert_snapshot!(key(&["--key", "test.pub"], None), @r#"
exit: 2
--- stdout
--- stderr
error: failed to read the private key `test.pub`
  cause: PEM file holds a `PUBLIC KEY`, not a private key
"#);
    assert_snapshot!(key(&["--key", "locked.key"], Some("wrong")), @r#"
exit: 2
--- stdout
--- stderr
error: failed to read the private key `locked.key`
  cause: wrong password
hint: set COSIGN_PASSWORD to the password that the key was made with
"#);
    assert_snapshot!(key(&["--key", "locked.key"], None), @r#"
exit: 2
--- stdout
--- stderr
error: `locked.key` is encrypted, and there is no terminal to ask for its password
hint: set COSIGN_PASSWORD; it may be empty
"#);
    assert_snapshot!(key(&["--new-key", "fresh"], None), @r#"
exit: 2
--- stdout
--- stderr
error: there is no terminal to ask for the new key's password
hint: set COSIGN_PASSWORD; it may be empty
"#);
    let generate = ["key", "generate", "--output-key-prefix", "pair"];
    assert_snapshot!(says(&project, &generate), @r#"
exit: 0
--- stdout
pair.key (private, encrypted) and pair.pub (public)
--- stderr
"#);
    assert_snapshot!(says(&project, &generate), @r#"
exit: 2
--- stdout
--- stderr
error: `pair.key` is there already, and a key is never overwritten
hint: move it away, or choose another prefix
"#);
    let half = ["key", "generate", "--output-key-prefix", "nowhere/pair"];
    assert_snapshot!(says(&project, &half), @r#"
exit: 2
--- stdout
--- stderr
error: failed to write `nowhere/pair.key`
  cause: No such file or directory (os error 2) at path "[workspace]/nowhere/.sealpack-[name]"
"#);
    assert_snapshot!(says(&project, &["sign", "oci:out:v1"]), @"
exit: 2
--- stdout
--- stderr
error: `--key` is missing
hint: sign with `--key FILE`, or by an identity: `--signing-config public`
");
    let verify = ["verify", "oci:out:v1", "--key"];
    assert_snapshot!(says(&project, &[&verify[..], &["junk.key"]].concat()), @r#"
exit: 2
--- stdout
--- stderr
error: failed to read the public key `junk.key`
  cause: not a PEM file
hint: a public key is a PEM file that begins with `-----BEGIN PUBLIC KEY-----`
"#);
    assert_snapshot!(says(&project, &[&verify[..], &["test.key"]].concat()), @r#"
exit: 2
--- stdout
--- stderr
error: failed to read the public key `test.key`
  cause: PEM file holds a `PRIVATE KEY`, not a public key
hint: a public key is a PEM file that begins with `-----BEGIN PUBLIC KEY-----`
"#);
}

#[test]
fn images_that_are_not_there() {
    let project = Project::typical();
    project.build("oci:out:v1").expect(0);
    project.build("oci:out:v2").expect(0);
    fs_err::create_dir(project.join("half")).unwrap();
    project.write("half/oci-layout", "{\"imageLayoutVersion\": \"1.0.0\"}");
    let tree = |image: &str| says(&project, &["tree", image]);
    assert_snapshot!(tree("oci:nowhere:v1"), @r#"
exit: 2
--- stdout
--- stderr
error: folder `nowhere` not found
"#);
    assert_snapshot!(tree("oci:app:v1"), @r#"
exit: 2
--- stdout
--- stderr
error: `oci:[workspace]/app` is malformed: it has no `oci-layout` file
"#);
    assert_snapshot!(tree("oci:half:v1"), @r#"
exit: 2
--- stdout
--- stderr
error: `oci:[workspace]/half` is malformed: it has no folder `blobs`
"#);
    assert_snapshot!(tree("oci:out:v3"), @"
exit: 2
--- stdout
--- stderr
error: tag `v3` not found in `oci:out`
hint: `sealpack ls oci:out` lists what is there
");
    assert_snapshot!(tree("oci:out"), @r#"
exit: 2
--- stdout
--- stderr
error: `oci:out` holds several images: `v1` and `v2`
hint: name one: `oci:DIR:TAG`
"#);
    assert_snapshot!(tree(&format!("oci:out@sha256:{}", "0".repeat(64))), @"
exit: 2
--- stdout
--- stderr
error: `sha256:[digest]` not found in `oci:out`
hint: `sealpack ls oci:out` lists what is there
");
    project.write("half/index.json", "{");
    assert_snapshot!(tree("oci:half:v1"), @r#"
exit: 2
--- stdout
--- stderr
error: `oci:[workspace]/half` is malformed: it has no folder `blobs`
"#);
    assert_snapshot!(tree("oci:builder.toml"), @"
exit: 2
--- stdout
--- stderr
error: `oci:[workspace]/builder.toml` is malformed: it is a file, not a folder: an archive is `oci-archive:FILE`
");
    // Without a registry a name leads to Docker Hub, unless it is meant for something here.
    for (name, hint) in [
        ("app", "`app` is a folder here: a layout is named `oci:app`"),
        (
            "builder.toml",
            "`builder.toml` is a file here: an archive is named `oci-archive:builder.toml` or `docker-archive:builder.toml`",
        ),
    ] {
        let said = project.run(&["tree", "--offline", name]).expect(2).stderr;
        assert!(said.ends_with(&format!("hint: {hint}\n")), "{said}");
    }
    let said = project.run(&["tree", "--offline", "none"]).expect(2).stderr;
    assert!(!said.contains("hint"), "{said}");
    let host = format!("127.0.0.1:{}", free_port());
    let down = |arguments: &[&str]| says(&project, arguments).replace(&host, "[registry]");
    let image = format!("{host}/team/app:v1");
    assert_snapshot!(down(&["tree", &image]), @r#"
exit: 2
--- stdout
--- stderr
error: failed to resolve `v1` at `[registry]/team/app`
  cause: `http://[registry]` is unreachable: Connection refused (os error 111)
"#);
    assert_snapshot!(down(&["copy", "oci:out:v1", &image]), @r#"
exit: 2
--- stdout
--- stderr
error: failed to copy sha256:[digest] to its destination
  cause: failed to look for sha256:[digest] at `[registry]/team/app`
  cause: `http://[registry]` is unreachable: Connection refused (os error 111)
"#);
    assert_snapshot!(build_says(&project, &["--tag", &image]).replace(&host, "[registry]"), @r#"
exit: 2
--- stdout
--- stderr
error: failed to resolve `v1` at `[registry]/team/app`
  cause: `http://[registry]` is unreachable: Connection refused (os error 111)
"#);
    assert_snapshot!(says(&project, &["tree", "--offline", "registry.example/app"]), @r#"
exit: 2
--- stdout
--- stderr
error: `registry.example/app` is not on this machine, and `--offline` forbids connections
"#);
    assert_snapshot!(says(&project, &["unpack", "oci:out:v1", "app"]), @r#"
exit: 2
--- stdout
--- stderr
error: `app` is not empty
"#);
}

#[test]
fn what_commands_say_when_all_is_well() {
    let project = Project::typical();
    project.build("oci:out:v1").expect(0);
    let run = |arguments: &[&str]| says(&project, arguments);
    let verify = ["verify", "oci:out:v1", "--key", "test.pub"];
    assert_snapshot!(run(&verify), @r#"
exit: 0
--- stdout
verified oci:out@sha256:[digest]
  signature    by key sha256:[digest]
--- stderr
"#);
    let key = repository().join("tests/fixtures/keys/cosign.pub");
    let key = key.to_str().unwrap();
    assert_snapshot!(run(&["verify", "oci:out:v1", "--key", key, "--claim", "spdx", "--claim", "vsa"]), @r#"
exit: 1
--- stdout
--- stderr
error: no valid `spdx` or `vsa` by the given key on `oci:out@sha256:[digest]`
  note: 5 attached bundles: signed by a different key; `-o json` lists them
"#);
    assert_snapshot!(run(&["policy", "check", "oci:out:v1", "--policy", "policy", "--key", "test.pub"]), @r#"
exit: 0
--- stdout
accepted oci:out@sha256:[digest]
  ✓ claim cyclonedx, by key sha256:[digest]
  ✓ claim signature, by key sha256:[digest]
  ✓ claim provenance, by key sha256:[digest]
  ✓ claim spdx, by key sha256:[digest]
  ✓ rules sbom
  ✓ rules signature
  ✓ rules slsa
--- stderr
"#);
    assert_snapshot!(run(&["policy", "check", "oci:out:v1", "--policy", "policy"]), @r#"
exit: 2
--- stdout
--- stderr
error: failed to read the policy `policy/policy.toml`
  cause: policy/policy.toml:6: `signer = "given"`, but no key was given
hint: add `--key FILE`, or `--certificate-identity` and `--certificate-oidc-issuer`
"#);
    assert_snapshot!(run(&["copy", "oci:out:v1", "oci:copied:v1", "--no-referrers"]), @r#"
exit: 0
--- stdout
copied oci:copied@sha256:[digest] ([size] transferred, [size] already present, 0 referrers)
--- stderr
  warning  at least 5 referrers were not copied: signatures, SBOMs or provenance; leave out `--no-referrers` to copy them
"#);
    assert_snapshot!(run(&["verify", "oci:copied:v1", "--key", "test.pub"]), @r#"
exit: 1
--- stdout
--- stderr
error: no valid `signature` by the given key on `oci:copied@sha256:[digest]`
  note: nothing is attached to it
"#);
    assert_snapshot!(run(&["unpack", "oci:out:v1", "root"]), @r#"
exit: 0
--- stdout
unpacked oci:out@sha256:[digest] into root
--- stderr
"#);
    assert_snapshot!(run(&["sign", "oci:out:v1", "--key", "test.key"]), @r#"
exit: 0
--- stdout
attached sha256:[digest]
  https://sigstore.dev/cosign/sign/v1 to oci:out@sha256:[digest]
--- stderr
"#);
}

#[test]
fn help_is_in_date() {
    let project = Project::typical();
    for command in [
        &[][..],
        &["build"],
        &["key"],
        &["key", "generate"],
        &["sign"],
        &["attest"],
        &["verify"],
        &["tree"],
        &["inspect"],
        &["policy"],
        &["policy", "check"],
        &["copy"],
        &["mirror"],
        &["unpack"],
        &["delete"],
        &["gc"],
        &["login"],
        &["logout"],
        &["completion"],
    ] {
        let output = project.run(&[command, &["--help"]].concat()).expect(0);
        let name = [&["help"], command].concat().join("-");
        assert_snapshot!(name, output.stdout);
    }
}
