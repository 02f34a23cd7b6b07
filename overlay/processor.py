"""The model's processor with the run's pixel limits, the same in training, scoring and serving."""

from transformers import AutoProcessor, ProcessorMixin


def load_processor(model: str, min_pixels: int | None = None, max_pixels: int | None = None) -> ProcessorMixin:
    """Processor of a model folder or hub name, padding on the left.

    The limits, in pixels of an image, replace the model's own where given; they are saved with the processor, so a
    checkpoint carries them. Raises OSError or ValueError when there is no such model.
    """
    processor = AutoProcessor.from_pretrained(model, padding_side="left")
    limit_pixels(processor, min_pixels, max_pixels)
    return processor


def limit_pixels(processor: ProcessorMixin, min_pixels: int | None, max_pixels: int | None) -> None:
    """Set a processor's pixel limits where given (`min_pixels` and `max_pixels` on it are on their way out).

    Processors before transformers 5 know no other way, and are left alone.
    """
    own = processor.image_processor.size
    if "longest_edge" not in own:
        return
    processor.image_processor.size = type(own)(
        shortest_edge=min_pixels or own["shortest_edge"], longest_edge=max_pixels or own["longest_edge"]
    )
