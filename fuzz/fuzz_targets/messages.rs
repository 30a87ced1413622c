//! Bytes as a request to a method of the first byte's choice, over gRPC to a server in this process: every answer is of its
//! kind or a typed refusal. The methods are in the order in which the tests write the seeds.

#![no_main]

use std::{sync::LazyLock, time::Duration};

use bailiwick::{
    app::{self, AppOptions, Running, StoreChoice},
    pb,
};
use libfuzzer_sys::fuzz_target;
use prost_reflect::DescriptorPool;
use tokio::{runtime::Runtime, time::timeout};
use tonic::transport::{Channel, Endpoint};

#[path = "../../tests/hostile/methods.rs"]
mod methods;
#[path = "../../tests/hostile/raw.rs"]
#[allow(dead_code)]
mod raw;

struct Stage {
    runtime: Runtime,
    channel: Channel,
    methods: Vec<methods::Method>,
    _running: Running,
}

static STAGE: LazyLock<Stage> = LazyLock::new(|| {
    let runtime = Runtime::new().expect("threads");
    let (running, channel) = runtime.block_on(async {
        let running = app::serve(AppOptions::on_loopback(StoreChoice::Memory)).await.expect("it starts");
        let url = format!("http://{}", running.local_addr());
        (running, Endpoint::from_shared(url).expect("a URL").connect_lazy())
    });
    let pool = DescriptorPool::decode(pb::DESCRIPTORS).expect("the protos of this build");
    Stage { runtime, channel, methods: methods::all(&pool), _running: running }
});

fuzz_target!(|bytes: &[u8]| {
    let Some((first, bytes)) = bytes.split_first() else { return };
    let method = &STAGE.methods[usize::from(*first) % STAGE.methods.len()];
    let call = raw::unary(&STAGE.channel, &method.path(), bytes.to_vec().into());
    // What waits for work or news has nothing to say yet.
    let Ok(answer) = STAGE.runtime.block_on(async { timeout(Duration::from_millis(100), call).await }) else { return };
    if method.waits() && answer.is_ok() || method.method.is_server_streaming() {
        return;
    }
    if let Some(fault) = raw::fault(&method.method.output(), &answer) {
        panic!("{} {fault}", method.path());
    }
});
