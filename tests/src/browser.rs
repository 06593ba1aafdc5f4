//! A real browser.

use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::{Output, Workspace, peer};

/// A real browser without a window: Chromium.
#[derive(Debug)]
pub struct Browser<'a> {
    workspace: &'a Workspace,
    program: std::path::PathBuf,
}

impl<'a> Browser<'a> {
    /// The browser of this machine; `None`, and it is said loudly, without one.
    pub fn new(workspace: &'a Workspace) -> Option<Self> {
        let program = peer("chromium")?;
        Some(Self { workspace, program })
    }

    /// Opens `page` in a frame, runs `script` outside of it with `page` (the frame's window) and
    /// `find` (of an element in it), and gives what the script returns.
    ///
    /// # Panics
    /// If the browser does not start, or the script fails.
    pub fn run(&self, page: &str, script: &str) -> Value {
        self.ask(page, script, "")
    }

    /// The same, where the page itself runs no scripts.
    ///
    /// # Panics
    /// If the browser does not start, or the script fails.
    pub fn run_without_scripts(&self, page: &str, script: &str) -> Value {
        self.ask(page, script, r#"frame.sandbox = "allow-same-origin";"#)
    }

    /// `frame`: what to do with the frame before the page is in it.
    fn ask(&self, page: &str, script: &str, frame: &str) -> Value {
        let harness = format!(
            r#"<!DOCTYPE html><meta charset="utf-8"><body><pre id="answer"></pre><script>
const bytes = Uint8Array.from(atob("{}"), (it) => it.charCodeAt(0));
const frame = document.createElement("iframe");
frame.width = 1200;
frame.height = 800;
{frame}
frame.onload = () => {{
  const page = frame.contentWindow;
  const find = (it) => page.document.querySelector(it);
  const answer = document.getElementById("answer");
  try {{
    answer.textContent = JSON.stringify((() => {{ {script} }})());
  }} catch (error) {{
    answer.textContent = JSON.stringify({{ error: String(error) }});
  }}
}};
frame.srcdoc = new TextDecoder().decode(bytes);
document.body.append(frame);
</script>"#,
            STANDARD.encode(page)
        );
        let path = self.workspace.write("harness.html", harness);
        let dom = self.dump(&path);
        let answer = dom
            .split_once(r#"<pre id="answer">"#)
            .and_then(|(_, after)| after.split_once("</pre>"))
            .map(|(answer, _)| answer)
            .expect("the harness has a place for the answer");
        let answer = answer
            .replace("&lt;", "<")
            .replace("&gt;", ">")
            .replace("&nbsp;", "\u{a0}")
            .replace("&amp;", "&");
        let answer: Value = serde_json::from_str(&answer).expect("the script answers");
        assert_eq!(answer.get("error"), None, "the script failed");
        answer
    }

    fn dump(&self, path: &std::path::Path) -> String {
        let mut command: Command = self.workspace.command(&self.program);
        command
            .args([
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-dev-shm-usage",
            ])
            .args([
                "--no-first-run",
                "--disable-background-networking",
                "--dump-dom",
            ])
            .arg(format!(
                "--user-data-dir={}",
                self.workspace.join("browser").display()
            ))
            .arg(format!("file://{}", path.display()));
        Output::of(&mut command).expect(0).stdout
    }
}
