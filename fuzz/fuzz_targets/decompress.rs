//! A compressed stream; the first byte says of which codec.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    rskafka_fuzz::decompress::check(data);
});
