"""The platform operator (プラットフォーム事業者): verification and user IDs for many tenants."""
