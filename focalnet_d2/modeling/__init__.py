"""The contract of all models (`base.py`), and the detectors and segmenters beside DINO and Mask2Former."""
