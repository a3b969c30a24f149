"""Medical insurance by card (オンライン資格確認): insurers' files, the insurers' joint body, and a clinic's
desk."""
