//! Databases that cannot be used: the server says so and what to do, or serves what is sound; it never panics and never guesses.

use std::{
    fs::{self, OpenOptions, Permissions},
    io::{Seek as _, SeekFrom, Write as _},
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::Command,
};

use crate::{
    hand::{World, contract, success},
    server::Server,
};

/// Bytes of a page, at most: what is broken here is at least one of them.
const PAGE: u64 = 16 << 10;

/// A folder with a database of some finished and some open tasks, and nobody who serves it.
async fn left_behind(folder: tempfile::TempDir) -> tempfile::TempDir {
    let mut world = World::on(folder, &[]).await;
    let (mut hand, _) = world.hand("w", &["solo", "boss"], &[]).await;
    for _ in 0..40 {
        world.submit(contract("solo")).await;
    }
    for _ in 0..20 {
        let assignment = hand.next().await;
        hand.answer(&assignment.lease, success(3)).await.expect("it is kept");
    }
    world.take().stop().await;
    world.into_folder()
}

fn new_folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

/// The read-only file system, or one that an ordinary user may not write to. `None`: neither can be had here.
fn make_read_only(folder: &Path) -> Option<&'static str> {
    let run = |arguments: &[&str]| {
        let mut command = Command::new("mount");
        let status = command.args(arguments).arg(folder).stderr(std::process::Stdio::null()).status();
        status.is_ok_and(|status| status.success())
    };
    if run(&["-o", "remount,ro"]) {
        return Some("a file system");
    }
    for file in fs::read_dir(folder).expect("a folder").flatten() {
        fs::set_permissions(file.path(), Permissions::from_mode(0o444)).expect("mine");
    }
    fs::set_permissions(folder, Permissions::from_mode(0o555)).expect("mine");
    OpenOptions::new().append(true).open(folder.join("test.db")).is_err().then_some("permissions")
}

#[tokio::test]
async fn a_read_only_database_is_refused_at_the_start_with_what_to_do() {
    let folder = new_folder();
    let mount = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=32m", "tmpfs"])
        .arg(folder.path())
        .stderr(std::process::Stdio::null())
        .status();
    let mounted = mount.is_ok_and(|status| status.success());
    let folder = left_behind(folder).await;
    let how = make_read_only(folder.path());
    let refused = match how {
        Some(_) => Some(Server::refused(folder.path(), &[]).await),
        None => None,
    };
    if mounted {
        let _ = Command::new("umount").arg("--lazy").arg(folder.path()).status();
    } else {
        let _ = fs::set_permissions(folder.path(), Permissions::from_mode(0o755));
    }
    let Some((code, said)) = refused else {
        println!("SKIPPED: whoever runs this may write everywhere and mount nowhere");
        return;
    };
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("test.db") && !said.contains("panicked"), "{said}");
    let says_so = said.to_lowercase();
    assert!(
        says_so.contains("read-only") || says_so.contains("readonly") || says_so.contains("permission"),
        "{said}"
    );
}

#[tokio::test]
async fn a_broken_file_is_refused_or_served_as_far_as_it_is_sound_and_never_panics() {
    let folder = left_behind(new_folder()).await;
    let path = folder.path().join("test.db");
    let sound = fs::read(&path).expect("the database");
    let length = u64::try_from(sound.len()).expect("a length");
    let pages = length / PAGE;
    let mut refusals = 0;
    for place in [0, 1, pages / 3, pages / 2, pages.saturating_sub(1)] {
        let broken = new_folder();
        let copy = broken.path().join("test.db");
        fs::write(&copy, &sound).expect("a copy");
        let mut file = OpenOptions::new().write(true).open(&copy).expect("the copy");
        file.seek(SeekFrom::Start(place * PAGE + if place == 0 { 0 } else { 8 })).expect("within");
        let rubbish = vec![0xA5; usize::try_from(PAGE.min(length - place * PAGE) - 8).expect("a page")];
        file.write_all(&rubbish).expect("broken");
        drop(file);
        let (code, said) = Server::tried(broken.path()).await;
        assert!(!said.contains("panicked"), "page {place}: {said}");
        match code {
            // It serves: what it has read was sound.
            None => {}
            Some(code) => {
                refusals += 1;
                assert_eq!(code, 1, "page {place}: {said}");
                assert!(said.contains("bailiwick:") || said.contains("error"), "page {place}: {said}");
            }
        }
    }
    assert!(refusals > 0, "a file without its first page cannot be served");
}
