"""The model's processor with the run's pixel limits, the same in training, scoring and serving."""

from transformers import AutoProcessor, ProcessorMixin


def load_processor(model: str, min_pixels: int | None = None, max_pixels: int | None = None) -> ProcessorMixin:
    """Processor of a model folder or hub name, padding on the left.

    The limits, in pixels of an image, replace the model's own where given; they are saved with the processor, so a
    checkpoint carries them. Raises OSError or ValueError when there is no such model.
    """
    processor = AutoProcessor.from_pretrained(model, padding_side="left")
    images = processor.image_processor
    own = images.size
    images.size = type(own)(
        shortest_edge=min_pixels or own["shortest_edge"], longest_edge=max_pixels or own["longest_edge"]
    )
    return processor
