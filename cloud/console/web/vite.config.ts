import { defineConfig } from "vite";

export default defineConfig({
  build: {
    target: "es2022",
    // Committed and embedded: no maps, no inlined files (the page's policy allows none in scripts).
    sourcemap: false,
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    chunkSizeWarningLimit: 2000,
  },
  worker: { format: "es" },
});
