#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| (remuda_decoders::target("page_token").run)(bytes));
