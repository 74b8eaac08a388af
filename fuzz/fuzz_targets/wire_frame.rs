#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| (remuda_decoders::target("wire_frame").run)(bytes));
