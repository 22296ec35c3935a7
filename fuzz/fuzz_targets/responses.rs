//! A response as a client gets it, behind the API and version that were asked for.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    rskafka_fuzz::messages::check_response(data);
});
