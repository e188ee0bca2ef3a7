import react from "@vitejs/plugin-react";
import { defineConfig } from "vite";
import { VitePWA } from "vite-plugin-pwa";

export default defineConfig({
  plugins: [
    react(),
    VitePWA({
      registerType: "autoUpdate",
      // a script of its own: the page's policy allows no inline one
      injectRegister: "script-defer",
      manifest: {
        name: "Orders: groceries",
        short_name: "Orders",
        description: "Browse, order and follow groceries",
        start_url: "/",
        display: "standalone",
        background_color: "#ffffff",
        theme_color: "#14532d",
        icons: [
          { src: "/icon.svg", sizes: "any", type: "image/svg+xml", purpose: "any" },
          { src: "/icon-192.png", sizes: "192x192", type: "image/png" },
          { src: "/icon-512.png", sizes: "512x512", type: "image/png" },
          { src: "/icon-512.png", sizes: "512x512", type: "image/png", purpose: "maskable" },
        ],
      },
      workbox: {
        // the application opens without a network; nothing of the API is ever kept: prices, orders and tokens are the gateway's to tell
        globPatterns: ["index.html", "assets/*", "icon.svg"],
        globIgnores: ["assets/console-*"],
        navigateFallback: "/index.html",
        navigateFallbackDenylist: [/^\/v1\//, /^\/docs/, /^\/problems\//, /^\/openapi\.json$/, /^\/config\.json$/],
      },
    }),
  ],
  build: { target: "es2022", sourcemap: false, chunkSizeWarningLimit: 400 },
});
