"""FocalNet backbones and what every detector and segmenter here shares, on Detectron2.

Importing the package registers the data sets, the backbones and the meta-architecture with Detectron2; that is
the only side effect, and importing again changes nothing. Only the doctor's own process leaves it out, so that it
can report an installation in which the registration fails.
"""

from focalnet_d2.registration import is_doctor_process, register

__version__ = "0.1.0"

if not is_doctor_process():
    register()
