//! Renders captcha images deterministically, on worker threads behind a bounded queue (load shedding).

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use captcha::Captcha;
use captcha::filters::Wave;
use chacha20::ChaCha8Rng;
use chacha20::rand_core::{Rng as _, SeedableRng as _};
use lodepng::{ColorType, Image};
use stele_core::usecase::captcha::CaptchaImage;
use stele_core::{Error, Result};
use stele_service::ConfigError;
use tokio::sync::{mpsc, oneshot};

/// The width of an image, in pixels.
const WIDTH: usize = 260;
/// The height of an image, in pixels.
const HEIGHT: usize = 120;
/// The amplitude of the wave filter, in pixels.
const WAVE_AMPLITUDE: u32 = 10;
/// The noise: the number of pixels in 256 that are blackened.
const NOISE_DENSITY: u8 = 51;
/// The number of dots drawn over the text.
const DOT_COUNT: usize = 8;

/// The queue length per worker thread: about 0.1 s of work.
const QUEUE_SLOTS_PER_THREAD: usize = 32;
/// `Retry-After` when the queue is full.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Renders captcha images on a few worker threads, so that anonymous clients cannot take the CPU from logins. The
/// threads end when the renderer is dropped.
pub struct CaptchaRenderer {
    jobs: mpsc::Sender<RenderJob>,
}

struct RenderJob {
    image: CaptchaImage,
    reply: oneshot::Sender<Option<Vec<u8>>>,
}

/// The bounded queue of jobs, shared by the worker threads.
#[derive(Clone)]
struct RenderQueue(Arc<Mutex<mpsc::Receiver<RenderJob>>>);

impl CaptchaRenderer {
    /// Starts a worker thread for every two cores.
    ///
    /// # Errors
    /// If a thread cannot be started.
    pub fn start() -> Result<Self, ConfigError> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = cores.div_ceil(2);
        let (renderer, queue) = Self::with_capacity(threads * QUEUE_SLOTS_PER_THREAD);
        for _ in 0..threads {
            let queue = queue.clone();
            let thread = std::thread::Builder::new().name("stele-captcha".to_owned()).spawn(move || queue.run());
            thread.map_err(|e| ConfigError::new(format!("cannot start a thread for captcha images: {e}")))?;
        }
        Ok(renderer)
    }

    fn with_capacity(queue_slots: usize) -> (Self, RenderQueue) {
        let (jobs, queue) = mpsc::channel(queue_slots);
        (Self { jobs }, RenderQueue(Arc::new(Mutex::new(queue))))
    }

    /// Reserves a queue slot. Call it before a view is counted.
    ///
    /// # Errors
    /// [`Error::Busy`] if the queue is full.
    pub fn reserve(&self) -> Result<QueueSlot<'_>> {
        self.jobs.try_reserve().map(QueueSlot).map_err(|_| Error::Busy { retry_after: RETRY_AFTER })
    }
}

/// A reserved queue slot, released when dropped.
pub struct QueueSlot<'a>(mpsc::Permit<'a, RenderJob>);

impl QueueSlot<'_> {
    /// Renders `image` as PNG. If the future is dropped before a worker starts on it, the job is skipped.
    ///
    /// # Errors
    /// [`Error::Internal`] if rendering fails.
    pub async fn render_png(self, image: CaptchaImage) -> Result<Vec<u8>> {
        let (reply, rendered) = oneshot::channel();
        self.0.send(RenderJob { image, reply });
        rendered.await.map_err(Error::internal)?.ok_or_else(|| Error::internal("a captcha image could not be rendered"))
    }
}

impl RenderQueue {
    fn run(&self) {
        while let Some(RenderJob { image, reply }) = self.next_job() {
            // A panic fails this job only; the worker continues.
            let png = catch_unwind(AssertUnwindSafe(|| render(&image))).ok().flatten();
            // Fails if the client has disconnected.
            let _ = reply.send(png);
        }
    }

    /// Waits for a job whose client is still connected; `None` once the renderer is dropped.
    fn next_job(&self) -> Option<RenderJob> {
        let mut queue = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let job = queue.blocking_recv()?;
            if !job.reply.is_closed() {
                return Some(job);
            }
        }
    }
}

/// Renders text, noise and dots as PNG. The result depends on `image` alone: with fresh noise in each view, the median
/// of several views would remove it.
fn render(image: &CaptchaImage) -> Option<Vec<u8>> {
    let mut pixels = render_text(&image.text)?;
    let mut random = ChaCha8Rng::from_seed(image.seed);
    let mut noise = vec![0; pixels.len()];
    random.fill_bytes(&mut noise);
    for (pixel, noise) in pixels.iter_mut().zip(noise) {
        if noise < NOISE_DENSITY {
            *pixel = 0;
        }
    }
    let mut dots = [[0; 5]; DOT_COUNT];
    random.fill_bytes(dots.as_flattened_mut());
    for [a, b, c, d, e] in dots {
        let center =
            (usize::from(u16::from_le_bytes([a, b])) % WIDTH, usize::from(u16::from_le_bytes([c, d])) % HEIGHT);
        draw_dot(&mut pixels, center, usize::from(2 + e % 3));
    }
    lodepng::encode_memory(&pixels, WIDTH, HEIGHT, ColorType::GREY, 8).ok()
}

/// The grey values of the text without noise, row by row. The library's own noise cannot be seeded.
fn render_text(text: &str) -> Option<Vec<u8>> {
    let mut captcha = Captcha::new();
    for letter in text.chars() {
        // The library picks a random letter of the set, so the set has one.
        captcha.set_chars(&[letter]).add_char();
    }
    captcha
        .apply_filter(Wave::new(2.0, WAVE_AMPLITUDE.into()).horizontal())
        .apply_filter(Wave::new(2.0, WAVE_AMPLITUDE.into()).vertical())
        .view(u32::try_from(WIDTH).ok()?, u32::try_from(HEIGHT).ok()?);
    match lodepng::decode_memory(captcha.as_png()?, ColorType::GREY, 8).ok()? {
        Image::Grey(bitmap) => Some(bitmap.buffer.iter().map(|pixel| pixel.value()).collect()),
        _ => None,
    }
}

/// Blackens the pixels within `radius` of a pixel.
fn draw_dot(pixels: &mut [u8], (x, y): (usize, usize), radius: usize) {
    for row in y.saturating_sub(radius)..=(y + radius).min(HEIGHT - 1) {
        for column in x.saturating_sub(radius)..=(x + radius).min(WIDTH - 1) {
            if row.abs_diff(y).pow(2) + column.abs_diff(x).pow(2) <= radius.pow(2)
                && let Some(pixel) = pixels.get_mut(row * WIDTH + column)
            {
                *pixel = 0;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn captcha_image(text: &str, seed: u8) -> CaptchaImage {
        CaptchaImage { text: text.to_owned(), seed: [seed; 32] }
    }

    #[test]
    fn every_captcha_letter_is_supported() {
        let supported = Captcha::new().supported_chars();
        for letter in "abcdefghjkmnpqrstuvwxy3456789".chars() {
            assert!(supported.contains(&letter), "{letter}");
        }
    }

    #[test]
    fn the_widest_text_fits() {
        let mut captcha = Captcha::new();
        for letter in "mwmwm".chars() {
            captcha.set_chars(&[letter]).add_char();
        }
        let area = captcha.text_area();
        assert!(area.right - area.left + 2 * WAVE_AMPLITUDE < u32::try_from(WIDTH).unwrap(), "{area:?}");
        assert_eq!(captcha.chars_as_string(), "mwmwm");
    }

    #[test]
    fn rendering_is_deterministic() {
        let png = render(&captcha_image("abc34", 1)).unwrap();
        assert!(png.starts_with(b"\x89PNG\r\n\x1a\n"));
        for _ in 0..3 {
            assert_eq!(render(&captcha_image("abc34", 1)).unwrap(), png);
        }
        assert_ne!(render(&captcha_image("abc34", 2)).unwrap(), png);
        assert_ne!(render(&captcha_image("abc35", 1)).unwrap(), png);
    }

    /// The number of dark pixels per thousand.
    fn dark_pixels_per_thousand(pixels: &[u8]) -> usize {
        pixels.iter().filter(|&&pixel| pixel < 128).count() * 1_000 / pixels.len()
    }

    #[test]
    fn an_image_has_letters_and_one_fifth_noise() {
        let without_noise = render_text("abc34").unwrap();
        let Ok(Image::Grey(bitmap)) =
            lodepng::decode_memory(render(&captcha_image("abc34", 1)).unwrap(), ColorType::GREY, 8)
        else {
            panic!("not a grey image")
        };
        assert_eq!((bitmap.width, bitmap.height), (WIDTH, HEIGHT));
        let noisy: Vec<u8> = bitmap.buffer.iter().map(|pixel| pixel.value()).collect();
        assert!(without_noise.iter().zip(&noisy).all(|(without_noise, noisy)| noisy <= without_noise));
        let expected =
            dark_pixels_per_thousand(&without_noise) + (1_000 - dark_pixels_per_thousand(&without_noise)) / 5;
        assert!(
            (30..300).contains(&dark_pixels_per_thousand(&without_noise)),
            "{}",
            dark_pixels_per_thousand(&without_noise)
        );
        assert!(
            dark_pixels_per_thousand(&noisy).abs_diff(expected) < 30,
            "{} of {expected}",
            dark_pixels_per_thousand(&noisy)
        );
    }

    #[tokio::test]
    async fn a_full_queue_rejects_at_once_and_a_disconnected_client_is_skipped() {
        let (renderer, queue) = CaptchaRenderer::with_capacity(2);
        let mut waiting: Vec<_> =
            (0..2).map(|seed| Box::pin(renderer.reserve().unwrap().render_png(captcha_image("abc34", seed)))).collect();
        for future in &mut waiting {
            assert!(futures_util::poll!(future.as_mut()).is_pending());
        }
        assert!(matches!(renderer.reserve(), Err(Error::Busy { .. })));
        drop(waiting.remove(0));
        let next = queue.clone();
        let job = std::thread::spawn(move || next.next_job().unwrap()).join().unwrap();
        assert_eq!(job.image.seed, [1; 32], "the job of the disconnected client is skipped");
        job.reply.send(render(&job.image)).unwrap();
        assert_eq!(waiting.remove(0).await.unwrap(), render(&captcha_image("abc34", 1)).unwrap());
        // Both slots are free again, and the worker ends when the renderer is dropped.
        let worker = std::thread::spawn(move || queue.run());
        assert_eq!(
            renderer.reserve().unwrap().render_png(captcha_image("abc34", 4)).await.unwrap(),
            render(&captcha_image("abc34", 4)).unwrap()
        );
        drop(waiting);
        drop(renderer);
        worker.join().unwrap();
    }
}
