//! How messages become bytes: as prost has it, with buffers as small as our messages.

use std::marker::PhantomData;

use prost::Message;
use tonic::codec::{BufferSettings, Codec};
use tonic_prost::ProstCodec;

/// The codec of the generated code (`build.rs`).
#[derive(Clone, Debug)]
pub(super) struct SmallCodec<T, U>(PhantomData<(T, U)>);

impl<T, U> Default for SmallCodec<T, U> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T, U> Codec for SmallCodec<T, U>
where
    T: Message + Send + 'static,
    U: Message + Default + Send + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = <ProstCodec<T, U> as Codec>::Encoder;
    type Decoder = <ProstCodec<T, U> as Codec>::Decoder;

    fn encoder(&mut self) -> Self::Encoder {
        ProstCodec::<T, U>::raw_encoder(settings())
    }

    fn decoder(&mut self) -> Self::Decoder {
        ProstCodec::<T, U>::raw_decoder(settings())
    }
}

fn settings() -> BufferSettings {
    BufferSettings::new(BUFFER, YIELD_THRESHOLD)
}

/// What a buffer begins with; it grows for whatever is larger. Nearly every message fits, and glibc has blocks of up to 1,032
/// bytes at hand for each thread, where tonic's own 8 KiB, twice a call, have it tidy up its whole arena (measured: 5 % of
/// a general question, 2026-11-26).
const BUFFER: usize = 1_000;

/// As tonic has it: of a stream so many bytes are sent together.
const YIELD_THRESHOLD: usize = 32 * 1024;
