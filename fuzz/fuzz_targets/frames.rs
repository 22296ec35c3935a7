//! A stream of bytes that arrives in any pieces.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    rskafka_fuzz::frames::check(data);
});
