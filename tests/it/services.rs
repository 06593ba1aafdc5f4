//! Signing without a key of one's own.

mod again;
mod faults;
mod peers;
mod real;

use testkit::{Output, Workspace};

use crate::verify::{IMAGE, fixture};

/// A layout with an image to sign: `oci:…@sha256:…`.
fn image(workspace: &Workspace) -> String {
    let source = format!("oci:{}@{IMAGE}", fixture("cosign-v3-key").display());
    let destination = format!("oci:{}:app", workspace.join("layout").display());
    let mut copy = workspace.sealpack(["copy", "--no-referrers", &source, &destination]);
    Output::of(&mut copy).expect(0);
    destination
}
