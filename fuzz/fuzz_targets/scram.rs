//! One message of a SCRAM exchange that is right up to there; the first byte says which.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    rskafka_fuzz::scram::check(data);
});
