//! A proxy whose world asks for more than the gate: a clock and files. No host of ours may take it.

#[cfg(target_arch = "wasm32")]
mod component {
    //! Answers, so that nothing but the imports speaks against it.

    wit_bindgen::generate!({
        path: ["../../../wit/gate", "../../../wit/proxy", "wit"],
        world: "holdfast:hostile/hostile-imports",
        generate_all,
    });

    use exports::holdfast::proxy::handler::{Guest, Response};
    use holdfast::gate::types::Request;

    struct Component;

    impl Guest for Component {
        fn handle(_: String, path: String, _: Request) -> Response {
            let now = wasi::clocks::wall_clock::now();
            let files = wasi::filesystem::preopens::get_directories();
            Response { status: 200, body: format!("{{\"at\":{now},\"files\":{files:?},\"path\":{path:?}}}") }
        }
    }

    export!(Component);
}
