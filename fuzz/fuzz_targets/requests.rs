//! A request as a broker gets it; its first bytes say API and version.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    rskafka_fuzz::messages::check_request(data);
});
