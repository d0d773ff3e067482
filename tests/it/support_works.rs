//! The harness itself: what it starts can be stopped, killed and started again.

use futures::StreamExt;
use sqlx::{Connection, PgConnection};

use crate::support::nats::NatsServer;
use crate::support::postgres::{self, Postgres};

#[tokio::test]
async fn a_private_nats_server_keeps_its_store_over_a_kill() {
    let mut server = NatsServer::start().await;
    for round in 1..=2 {
        let jetstream = async_nats::jetstream::new(server.client().await);
        let config = async_nats::jetstream::stream::Config {
            name: "S".to_owned(),
            subjects: vec!["s".to_owned()],
            ..Default::default()
        };
        let mut stream = jetstream.get_or_create_stream(config).await.unwrap();
        jetstream.publish("s", "x".into()).await.unwrap().await.unwrap();
        assert_eq!(stream.info().await.unwrap().state.messages, round);
        if round == 1 {
            server.kill();
            server.restart().await;
        }
    }
    server.stop().await;
    assert!(async_nats::connect(server.url()).await.is_err());
}

#[tokio::test]
async fn a_private_nats_server_listens_for_websockets() {
    let server = NatsServer::start().await;
    let (mut socket, _) = tokio_tungstenite::connect_async(server.ws_url()).await.unwrap();
    let greeting = socket.next().await.unwrap().unwrap();
    assert!(greeting.into_data().starts_with(b"INFO "));
}

#[tokio::test]
async fn a_private_postgres_keeps_committed_rows_over_a_kill() {
    let mut server = Postgres::start().await;
    let url = server.create_database("kept").await;
    let pool = sqlx::PgPool::connect(&url).await.unwrap();
    sqlx::raw_sql("CREATE TABLE t (n int); INSERT INTO t VALUES (7)").execute(&pool).await.unwrap();
    server.kill();
    server.restart().await;
    let pool = sqlx::PgPool::connect(&url).await.unwrap();
    assert_eq!(sqlx::query_scalar::<_, i32>("SELECT n FROM t").fetch_one(&pool).await.unwrap(), 7);
    pool.close().await;
    server.stop().await;
    assert!(PgConnection::connect(&url).await.is_err());
}

#[tokio::test]
async fn databases_of_the_shared_postgres_are_apart() {
    let (one, two) = (postgres::database().await, postgres::database().await);
    assert_ne!(one, two);
    let pool = sqlx::PgPool::connect(&two).await.unwrap();
    assert!(sqlx::query_scalar::<_, bool>("SELECT true").fetch_one(&pool).await.unwrap());
}
