//! A message set of magic 0 or 1; the first byte says whether it is compressed into one message.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    rskafka_fuzz::legacy::check(data);
});
