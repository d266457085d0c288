//! The tests' XKS server as a process of its own: `xks_server ADDRESS [THREADS]`.

#[path = "../tests/xks_server/mod.rs"]
mod xks_server;

fn main() -> std::io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:8080".to_owned());
    let threads = arguments.next().and_then(|text| text.parse().ok()).unwrap_or(2);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build()?;
    runtime.block_on(async {
        let address = xks_server::serve_on(&address, xks_server::Fault::None, None).await;
        println!("http://{address}{}", xks_server::URI_PATH);
        std::future::pending().await
    })
}
