//! The HTTP side: `/metrics`, `/livez`, `/readyz`.

use std::{net::SocketAddr, sync::Arc};

use anyhow::Context;
use axum::{Router, extract::State, http::StatusCode, routing::get};

use crate::telemetry::Telemetry;

/// Serves until the process ends.
///
/// # Errors
/// The address cannot be bound.
pub async fn serve(listen: SocketAddr, telemetry: Arc<Telemetry>) -> anyhow::Result<()> {
    let app = Router::new()
        .route("/metrics", get(metrics))
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .with_state(telemetry);
    let listener = tokio::net::TcpListener::bind(listen)
        .await
        .with_context(|| format!("cannot listen on {listen}; choose another address in http.listen"))?;
    tracing::info!("metrics are at http://{}/metrics", listener.local_addr()?);
    axum::serve(listener, app).await.context("the HTTP server stopped")
}

async fn metrics(State(telemetry): State<Arc<Telemetry>>) -> String {
    telemetry.render()
}

async fn livez(State(telemetry): State<Arc<Telemetry>>) -> (StatusCode, &'static str) {
    if telemetry.is_alive() {
        (StatusCode::OK, "alive\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "a worker hangs\n")
    }
}

async fn readyz(State(telemetry): State<Arc<Telemetry>>) -> (StatusCode, String) {
    match telemetry.not_ready() {
        None => (StatusCode::OK, "ready\n".to_owned()),
        Some(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")),
    }
}
