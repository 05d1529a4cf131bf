"""From the tensors of an exported model to results, with numpy alone: one module for each kind of tensors.

Each has `decode(outputs, settings, sizes) -> dict`: the tensors of one image by name, what `export_settings` of the
model says, and the image's sizes (`Sizes`) -> the fields of a `Result` that the model predicts.
"""
