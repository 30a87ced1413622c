//! A disk that takes nothing more. Two ways to have one: a small file system of its own, where this may be mounted, and a limit
//! on the size of the server's files, which any user may set. The server sees the same: a write that fails.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use bailiwick::pb::{CancelTaskRequest, PollRequest, TaskState, session_response};
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use tonic::Code;
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};
use tonic_types::StatusExt as _;

use crate::hand::{Hand, World, contract, soon, success};

/// A disk that a test can fill and free again.
trait Disk {
    fn fill(&mut self, server: u32);
    fn free(&mut self, server: u32);
}

/// No file of the server's may grow or be written beyond its first byte.
#[derive(Default)]
struct SizeLimit {
    before: Option<Rlimit>,
}

fn limit_file_size(server: u32, limit: Rlimit) -> Rlimit {
    let pid = Pid::from_raw(i32::try_from(server).expect("a process id")).expect("not zero");
    prlimit(Some(pid), Resource::Fsize, limit).expect("the limit can be set")
}

impl Disk for SizeLimit {
    fn fill(&mut self, server: u32) {
        let now = limit_file_size(server, Rlimit { current: Some(1), maximum: None });
        self.before.get_or_insert(now);
    }

    fn free(&mut self, server: u32) {
        if let Some(before) = self.before.take() {
            limit_file_size(server, before);
        }
    }
}

/// A file system in memory, too small, filled up by a file.
struct Small {
    mount: PathBuf,
}

impl Small {
    fn mounted(at: &Path) -> Option<Self> {
        let run = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=6m", "tmpfs"])
            .arg(at)
            .stderr(std::process::Stdio::null())
            .status();
        run.is_ok_and(|status| status.success()).then(|| Self { mount: at.to_owned() })
    }

    fn filler(&self) -> PathBuf {
        self.mount.join("filler")
    }
}

impl Disk for Small {
    fn fill(&mut self, _: u32) {
        use std::io::Write as _;
        let mut filler = std::fs::File::create(self.filler()).expect("a file");
        let block = vec![0_u8; 4_096];
        while filler.write_all(&block).is_ok() {}
    }

    fn free(&mut self, _: u32) {
        std::fs::remove_file(self.filler()).expect("the filler is there");
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("--lazy").arg(&self.mount).status();
    }
}

fn reason(status: &tonic::Status) -> String {
    status.get_details_error_info().map(|info| info.reason).unwrap_or_default()
}

async fn health(world: &World) -> i32 {
    let request = HealthCheckRequest { service: "bailiwick.v1.TaskService".to_owned() };
    let answer = HealthClient::new(world.channel()).check(request).await;
    answer.expect("the server answers").into_inner().status
}

async fn healthy(world: &World, wanted: ServingStatus) {
    let as_wanted = async {
        while health(world).await != i32::from(wanted) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    soon("the health to change", as_wanted).await;
}

/// The leases that the worker is told to stop, until this one is.
async fn told_to_stop(hand: &mut Hand, lease: &str) {
    let told = async {
        loop {
            let wait = Some(prost_types::Duration { seconds: 1, nanos: 0 });
            let session_id = hand.session().to_owned();
            let request = PollRequest { session_id, wait, ..PollRequest::default() };
            let response = hand.client.poll(request).await.expect("the session is open").into_inner();
            for message in response.messages {
                if let Some(session_response::Message::Cancel(cancel)) = message.message
                    && cancel.lease == lease
                {
                    return;
                }
            }
        }
    };
    soon("the word to stop", told).await;
}

/// The whole story, whatever the disk.
async fn survives(mut world: World, mut disk: impl Disk) {
    let (mut hand, _) = world.hand("w", &["solo", "boss"], &[]).await;
    let to_answer = world.submit(contract("solo")).await;
    let answering = hand.next().await;
    let to_cancel = world.submit(contract("solo")).await;
    let cancelling = hand.next().await;
    assert_eq!((&answering.task_id, &cancelling.task_id), (&to_answer, &to_cancel));

    disk.fill(world.server().id());
    // Whatever fits into what is written already may still be kept; then nothing is.
    let mut kept = Vec::new();
    let full = async {
        loop {
            match world.try_submit(contract("solo")).await {
                Ok(response) => kept.push(response.task_id),
                Err(status) if reason(&status) == "JOURNAL_FAILING" => return status,
                Err(status) => assert_eq!(status.code(), Code::Unavailable, "{status:?}"),
            }
        }
    };
    let refusal = soon("a refusal", full).await;
    assert_eq!(refusal.code(), Code::Unavailable);
    assert!(refusal.message().contains("the journal takes nothing since"), "{refusal:?}");
    assert!(refusal.get_details_retry_info().is_some_and(|info| info.retry_delay.is_some()), "{refusal:?}");
    healthy(&world, ServingStatus::NotServing).await;

    // An answer that cannot be kept is not acknowledged.
    let answer = hand.answer(&answering.lease, success(10)).await.expect_err("it cannot be kept");
    assert_eq!(answer.code(), Code::Unavailable, "{answer:?}");
    // A cancel cannot be kept either, but the worker hears of it: brakes go first.
    let cancel = CancelTaskRequest { task_id: to_cancel.clone(), reason: "enough".to_owned() };
    let cancelled = world.tasks().cancel_task(cancel.clone()).await.expect_err("it cannot be kept");
    assert_eq!(cancelled.code(), Code::Unavailable, "{cancelled:?}");
    told_to_stop(&mut hand, &cancelling.lease).await;
    assert_eq!(world.state(&to_answer).await, TaskState::Running, "it reads what is durable");

    disk.free(world.server().id());
    healthy(&world, ServingStatus::Serving).await;
    soon("the answer to be kept", async {
        while let Err(status) = hand.answer(&answering.lease, success(10)).await {
            assert_eq!(status.code(), Code::Unavailable, "{status:?}");
        }
    })
    .await;
    world.tasks().cancel_task(cancel).await.expect("it is kept now");
    kept.push(world.submit(contract("solo")).await);
    assert_eq!(world.state(&to_answer).await, TaskState::Succeeded);

    world.restart().await;
    assert_eq!(world.state(&to_answer).await, TaskState::Succeeded);
    assert_eq!(world.state(&to_cancel).await, TaskState::Cancelled);
    let (mut hand, _) = world.hand("w", &["solo", "boss"], &[]).await;
    let mut waiting = kept.len();
    while waiting > 0 {
        let assignment = hand.next().await;
        assert!(kept.contains(&assignment.task_id), "what was refused is not there: {}", assignment.task_id);
        hand.answer(&assignment.lease, success(5)).await.expect("it is kept");
        waiting -= 1;
    }
    for id in kept {
        assert_eq!(world.state(&id).await, TaskState::Succeeded, "what was acknowledged is kept");
    }
}

#[tokio::test]
async fn a_file_that_may_not_grow_stops_intake_but_no_brake_and_loses_nothing() {
    survives(World::new().await, SizeLimit::default()).await;
}

#[tokio::test]
async fn a_full_disk_stops_intake_but_no_brake_and_loses_nothing() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let Some(small) = Small::mounted(folder.path()) else {
        println!("SKIPPED: no file system may be mounted here; the size limit of a file stands for it");
        return;
    };
    survives(World::on(folder, &[]).await, small).await;
}
