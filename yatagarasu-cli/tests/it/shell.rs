//! The completions of shells, and the manual pages.

use std::process::{Command, Stdio};

use crate::process::run;

#[test]
fn shells_complete_both_programs() {
    for (program, expected) in [("yatagarasu", "explain"), ("yatagarasu-server", "log-format")] {
        for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
            let said = run(&["completions", shell, "--program", program]);
            assert_eq!((said.status, said.stderr.as_str()), (0, ""), "{shell}");
            assert!(said.stdout.contains(program) && said.stdout.contains(expected), "{shell}");
        }
    }
    // A real one completes by it.
    let script = run(&["completions", "bash"]).stdout;
    let ask = "COMP_WORDS=(yatagarasu cache pu); COMP_CWORD=2; _yatagarasu yatagarasu pu cache; echo \"${COMPREPLY[@]}\"";
    let said =
        Command::new("bash").args(["-c", &format!("{script}\n{ask}")]).stdin(Stdio::null()).output().unwrap();
    assert_eq!(String::from_utf8(said.stdout).unwrap(), "purge\n");
    let said = run(&["completions", "command.com"]);
    assert!(said.status == 2 && said.stderr.contains("possible values: bash"), "{said:?}");
}

#[test]
fn each_command_has_a_manual_page() {
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("man");
    let said = run(&["man", target.to_str().unwrap()]);
    assert_eq!((said.status, said.stdout.as_str(), said.stderr.as_str()), (0, "", ""));
    let page = |name: &str| std::fs::read_to_string(target.join(name)).unwrap();
    assert!(page("yatagarasu.1").contains("yatagarasu\\-explain(1)"));
    assert!(page("yatagarasu-cache-purge.1").contains("Marks the objects stale"));
    assert!(page("yatagarasu-server.1").contains("The configuration: YAML, TOML or JSON"));
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    let said = run(&["man", file.to_str().unwrap()]);
    assert!(said.status == 2 && said.stderr.contains("cannot be written into"), "{said:?}");
}
