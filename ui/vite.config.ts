import react from '@vitejs/plugin-react';
import { defineConfig } from 'vitest/config';

// In development, `npm run dev` shows a running node: PICKET_URL, default http://127.0.0.1:8080.
const node = (globalThis as { process?: { env: Record<string, string | undefined> } }).process?.env.PICKET_URL;

export default defineConfig({
  plugins: [react()],
  build: {
    outDir: 'dist/app',
    assetsInlineLimit: 0,
    chunkSizeWarningLimit: 700,
    modulePreload: { polyfill: false },
  },
  server: { proxy: { '/api': node ?? 'http://127.0.0.1:8080', '/signin': node ?? 'http://127.0.0.1:8080' } },
  test: { include: ['src/**/*.test.ts'] },
});
