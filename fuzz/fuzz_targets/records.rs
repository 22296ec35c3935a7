//! A record set: read, and written again.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    rskafka_fuzz::records::check(data);
});
