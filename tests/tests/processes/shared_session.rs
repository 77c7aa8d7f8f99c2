//! Several processes record into one session, and none costs another a line or a folder.

use std::path::Path;
use std::process::Command;
use std::thread;

use callbox_core::{CallState, DumpSource, Finding};
use callbox_tests::not_run;

use crate::progress::{Progress, Stage};
use crate::session_lines::SessionLines;
use crate::workers::{LIFE, PROCESSES, Worker, calls, folder, names};

/// Checks a session of eight processes that nobody ended.
fn check_whole(folder: &Path, names: &[String]) -> SessionLines {
    let lines = SessionLines::read(&folder.join("dumps"));
    assert_eq!(lines.torn, 0, "torn lines");
    names.iter().for_each(|name| lines.check_whole(name, calls()));
    assert_eq!(lines.calls.len() as u64, names.len() as u64 * calls());
    assert_eq!(lines.processes.len(), names.len());
    lines.check_folders(&folder.join("dumps"));
    println!(
        "figures: {PROCESSES} processes: {} lines of {} to {} bytes, none torn, lost or doubled, {} empty ones",
        2 * lines.calls.len(),
        lines.shortest_and_longest.0,
        lines.shortest_and_longest.1,
        lines.empty
    );
    check_source(folder, lines.calls.len());
    lines
}

/// Checks that the session's reader finds as many calls, all of them whole, and nothing else than lines without anything.
fn check_source(folder: &Path, calls: usize) {
    let session = callbox::open_session(&folder.join("dumps")).unwrap().calls().unwrap();
    let is_blank = |finding: &Finding| finding.message.starts_with("blank lines: ");
    assert!(session.findings.iter().all(is_blank), "{:?}", session.findings);
    assert_eq!(session.calls.len(), calls);
    assert!(session.calls.iter().all(|call| call.state == CallState::Completed));
}

fn run_eight(folder: &Path, before: &[&str]) -> SessionLines {
    let names = names();
    let calls = calls().to_string();
    let workers: Vec<_> =
        names.iter().map(|name| Worker::start(folder, before, name, &[calls.as_str()])).collect();
    for worker in workers {
        let progress = worker.finish();
        assert!(progress.values().all(|stage| *stage == Stage::Ended));
    }
    check_whole(folder, &names)
}

#[test]
fn u20_u21_eight_processes_in_one_session_tear_lose_and_double_no_line_and_share_no_folder() {
    let folder = folder();
    let lines = run_eight(folder.path(), &[]);
    let (shortest, longest) = lines.shortest_and_longest;
    assert!(shortest < 2_000 && longest > 1_000_000, "{shortest} to {longest} bytes");
}

#[test]
fn u22_eight_processes_of_one_id_in_namespaces_of_their_own_share_no_folder() {
    // Root needs no namespace of users, and some systems forbid that one alone.
    let as_root = ["unshare", "--pid", "--fork", "--"];
    let as_user = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--"];
    let refusals = [&as_root[..], &as_user].map(refusal);
    let before = match &refusals {
        [None, _] => &as_root[..],
        [_, None] => &as_user[..],
        [Some(first), Some(second)] => {
            let test = "u22_eight_processes_of_one_id_in_namespaces_of_their_own_share_no_folder";
            return not_run(test, &format!("no namespace of process ids: {first}; {second}"));
        }
    };
    let folder = folder();
    let lines = run_eight(folder.path(), before);
    assert!(lines.processes.values().all(|(id, _)| *id == 1), "each is the first of its namespace");
}

/// Tells why a program cannot be started in this way; `None` if it can.
fn refusal(before: &[&str]) -> Option<String> {
    match Command::new(before[0]).args(&before[1..]).arg("true").output() {
        Ok(output) if output.status.success() => None,
        Ok(output) => Some(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
        Err(error) => Some(format!("{}: {error}", before[0])),
    }
}

#[test]
fn p18_u26_children_go_on_with_the_recorder_of_their_parent_as_processes_of_their_own() {
    const CHILDREN: usize = 4;
    let folder = folder();
    let each = calls() / 4;
    let (count, children) = (each.to_string(), CHILDREN.to_string());
    let parent = Worker::start(folder.path(), &[], "parent", &[&count, "forks", &children]);
    let parent_id = u64::from(parent.child.id());
    parent.finish();

    let lines = SessionLines::read(&folder.path().join("dumps"));
    assert_eq!(lines.torn, 0);
    lines.check_folders(&folder.path().join("dumps"));
    assert_eq!(lines.processes.len(), 1 + 2 * CHILDREN, "each child, and each child's child");
    for (id, numbers) in lines.processes.values() {
        let (name, calls) =
            if *id == parent_id { ("thread0".to_owned(), 2 * each) } else { (format!("child{id}"), each) };
        lines.check_whole(&name, each);
        assert_eq!(*numbers, (1..=calls).collect(), "a child counts its own calls");
        // The log of a child has the child's own calls: two blocks name their number at level 10.
        let log = std::fs::read_to_string(folder.path().join(format!("logs/{id}.log"))).unwrap();
        assert!(log.contains(&name) && (*id == parent_id || !log.contains("thread0")), "{id}");
    }
    lines.check_whole("thread1", each);
    check_source(folder.path(), lines.calls.len());
}

#[test]
fn p7_a_process_that_is_killed_every_50_ms_costs_the_others_nothing_and_itself_one_line_each_time() {
    let folder = folder();
    let names = &names()[1..];
    let count = calls().to_string();
    let mut others: Vec<_> =
        names.iter().map(|name| Worker::start(folder.path(), &[], name, &[&count])).collect();
    let mut killed: Vec<(String, Progress)> = Vec::new();
    while others.iter_mut().any(|other| other.child.try_wait().unwrap().is_none()) {
        let name = format!("killed{}", killed.len());
        let worker = Worker::start(folder.path(), &[], &name, &["1000000"]);
        thread::sleep(LIFE);
        killed.push((name, worker.kill()));
    }
    others.into_iter().for_each(|other| {
        other.finish();
    });

    let lines = SessionLines::read(&folder.path().join("dumps"));
    lines.check_folders(&folder.path().join("dumps"));
    names.iter().for_each(|name| lines.check_whole(name, calls()));
    let mut acknowledged = 0;
    for (name, progress) in &killed {
        let ended = progress.values().filter(|stage| **stage == Stage::Ended).count() as u64;
        lines.check_whole(name, ended);
        acknowledged += ended;
    }
    println!(
        "figures: one of {PROCESSES} processes killed {} times: {} lines torn, {} empty; {acknowledged} calls that had ended, all whole",
        killed.len(),
        lines.torn,
        lines.empty
    );
    assert!(killed.len() > 4 && acknowledged > 0);
    assert!(lines.torn <= killed.len(), "{} torn lines in {} kills", lines.torn, killed.len());
}
