//! Durable sagas: definition, pure machine, runner.
