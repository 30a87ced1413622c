//! The methods of this protocol that take one message, read from the protos: a method added tomorrow is among them.

use prost_reflect::{DescriptorPool, MethodDescriptor};

/// One of them.
pub struct Method {
    service: String,
    pub method: MethodDescriptor,
}

impl Method {
    pub fn name(&self) -> &str {
        self.method.name()
    }

    /// `SERVICE/METHOD`.
    pub fn path(&self) -> String {
        format!("{}/{}", self.service, self.name())
    }

    /// Whether it answers only when there is something to say.
    pub fn waits(&self) -> bool {
        ["Poll", "WatchTask", "WatchEscalations"].contains(&self.name())
    }
}

/// All of them. What stops or breaks things for everybody comes last, so that the rest meets a server at work.
pub fn all(pool: &DescriptorPool) -> Vec<Method> {
    let services = pool.services().filter(|service| service.full_name().starts_with("bailiwick.v1."));
    let mut methods = Vec::new();
    for service in services {
        let one_message = service.methods().filter(|method| !method.is_client_streaming());
        methods.extend(one_message.map(|method| Method { service: service.full_name().to_owned(), method }));
    }
    methods.sort_by_key(|method| ["Chaos", "Halt", "Resume"].iter().any(|late| method.name().contains(late)));
    methods
}
