//! Bytes as a request to a method of the first byte's choice, over gRPC to a server in this process: every answer is of its
//! kind or a typed refusal. The methods are in the order in which the tests write the seeds.

#![no_main]

use std::time::Duration;

use bailiwick::{
    app::{self, AppOptions, Running, StoreChoice},
    pb,
};
use libfuzzer_sys::fuzz_target;
use prost_reflect::DescriptorPool;
use tokio::{runtime::Runtime, time::timeout};
use tonic::transport::{Channel, Endpoint};

#[path = "../../tests/hostile/methods.rs"]
#[allow(dead_code)]
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

impl Stage {
    fn new() -> Self {
        let runtime = Runtime::new().expect("threads");
        let (running, channel) = runtime.block_on(async {
            let running = app::serve(AppOptions::on_loopback(StoreChoice::Memory)).await.expect("it starts");
            let url = format!("http://{}", running.local_addr());
            (running, Endpoint::from_shared(url).expect("a URL").connect_lazy())
        });
        let pool = DescriptorPool::decode(pb::DESCRIPTORS).expect("the protos of this build");
        Self { runtime, channel, methods: methods::all(&pool), _running: running }
    }

    fn play(&self, first: u8, bytes: &[u8]) {
        let method = &self.methods[usize::from(first) % self.methods.len()];
        let path = method.path();
        let call = raw::unary(&self.channel, &path, bytes.to_vec().into());
        let answer = self.runtime.block_on(async { timeout(Duration::from_millis(100), call).await });
        // What waits for work or news has nothing to say yet.
        let Ok(answer) = answer else { return };
        if method.method.is_server_streaming() {
            return;
        }
        if let Some(fault) = raw::fault(&method.method.output(), &answer) {
            panic!("{path} {fault}");
        }
    }
}

thread_local! {
    static STAGE: Stage = Stage::new();
}

fuzz_target!(|bytes: &[u8]| {
    if let Some((first, bytes)) = bytes.split_first() {
        STAGE.with(|stage| stage.play(*first, bytes));
    }
});
