import { defineConfig } from "vite";

// Relative addresses, so that the page also works below a prefix, behind a proxy.
export default defineConfig({
  base: "./",
  server: { proxy: { "/v1": "http://127.0.0.1:8000" } }, // `npm run dev` beside `perfcast serve`
  build: {
    outDir: "../static",
    emptyOutDir: true,
    assetsInlineLimit: 0, // data: addresses would need a wider content security policy
    modulePreload: { polyfill: false },
    target: "es2022",
    rolldownOptions: {
      output: {
        postBanner: "/*! includes uPlot 1.6.32, Copyright Leon Sorokin, MIT; see NOTICE */",
      },
    },
  },
});
