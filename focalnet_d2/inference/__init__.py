"""Results of trained models beyond one forward pass: several scales, and boxes fused."""
