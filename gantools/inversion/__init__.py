"""From images to latents: optimisation and perceptual distances."""
