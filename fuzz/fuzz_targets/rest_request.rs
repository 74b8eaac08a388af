#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| (remuda_decoders::target("rest_request").run)(bytes));
