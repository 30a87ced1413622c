//! Starts that must be refused, with words that say what to do.

use crate::{
    hand::{World, contract},
    server::Server,
};

#[tokio::test]
async fn a_second_server_on_the_same_database_is_refused() {
    let world = World::new().await;
    let (code, said) = Server::refused(world.folder(), &[]).await;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("already served by process"), "{said}");
    assert!(said.contains(&world.server().id().to_string()), "it names the process: {said}");
    assert!(said.contains("stop that server first"), "it says what to do: {said}");
    world.hand("w", &["solo", "boss"], &[]).await;
    world.submit(contract("solo")).await;
}

#[tokio::test]
async fn another_count_of_shards_is_refused() {
    let mut world = World::new().await;
    world.kill().await;
    let (code, said) = Server::refused(world.folder(), &["--shards", "13"]).await;
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("shards") && said.contains("13"), "{said}");
    world.start().await;
}
